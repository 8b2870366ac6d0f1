"""Runs checks side by side, each with a time of its own: a part that hangs holds up no other's line."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from streams.bugs import foreseen
from streams.doctor.finding import Finding, broken, warning
from streams.errors import Bug, MetricStreamsError, NewerFormat, Outage, StartupRefused, worded

GIVE_UP_S = 1.0
"""For a check that was told to end: a library may close its connections first, and hang in that."""

MENDS = {
    "mqtt": "Start the MQTT broker, or let MQTT_URL say where it is",
    "kafka": "Start Kafka, or let BROKER_URL say where it is",
    "redis": "Start Redis, or let REDIS_URL say where it is",
    "postgres": "Start PostgreSQL, or let DATABASE_URL say where it is",
}
"""Of a part that does not answer, where nothing better is known."""
SEE_LOG = "See the log of that part"
CREDENTIALS = "Look at user and password in its URL, and whether the server knows them"
REFUSED = "authenticat|password|not authori[sz]ed|wrongpass"

Check = Callable[[], Awaitable[Sequence[Finding]]]


class NamedCheck(NamedTuple):
    """A check."""

    part: str
    what: str
    """What it looks at, as a line says it that could not look."""
    check: Check


class _Result(NamedTuple):
    """What came of a check."""

    findings: Sequence[Finding]
    is_away: bool = False
    """The part gave no answer."""


async def examine(checks: Sequence[NamedCheck], limit_s: float) -> list[Finding]:
    """Run all checks at once; what each finds is in the order of the checks.

    That a part is away is said once, by the first of its checks.
    """
    results = await asyncio.gather(*(_examine(check, limit_s) for check in checks))
    found: list[Finding] = []
    away: set[str] = set()
    for named, result in zip(checks, results, strict=True):
        if result.is_away and named.part in away:
            continue
        if result.is_away:
            away.add(named.part)
        found += result.findings
    return found


async def _examine(named: NamedCheck, limit_s: float) -> _Result:
    part, what, check = named
    task = asyncio.ensure_future(check())
    try:
        await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            return _Result(
                [broken(part, f"{what}: no answer within {limit_s:g} s", _mend(part))], is_away=True
            )
        with foreseen(OSError, MetricStreamsError):
            return _Result(task.result())
    except Bug as bug:  # the other lines are needed all the more
        return _Result([broken(part, f"{what}: {bug}", "Please report it: the doctor has a bug")])
    except Outage as outage:
        return _away(named, outage)
    except (StartupRefused, NewerFormat) as refusal:
        return _Result([broken(part, worded(refusal), "Do what it says: no worker can run like this")])
    except (OSError, MetricStreamsError) as error:
        return _Result([broken(part, f"{what}: {worded(error)}", _mend(part))])
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=GIVE_UP_S)


def _away(named: NamedCheck, outage: Outage) -> _Result:
    if outage.part != named.part:
        return _Result([_not_looked_at(named, outage)])
    mend = CREDENTIALS if _is_refused(outage) else outage.mend or _mend(outage.part)
    return _Result([broken(named.part, outage.seen, mend)], is_away=True)


def _not_looked_at(named: NamedCheck, outage: Outage) -> Finding:
    if outage.mend:
        # It may answer, and refuse us this one thing. Its own line need not say so.
        return warning(named.part, f"{named.what}: not looked at: {outage.part}: {outage.seen}", outage.mend)
    seen = f"{named.what}: not looked at, since {outage.part} does not answer"
    return warning(named.part, seen, f"See the line of {outage.part}")


def _is_refused(outage: Outage) -> bool:
    """Tell whether a part does not know us, or not by this password, in whichever words it says so."""
    return re.search(REFUSED, outage.seen, re.IGNORECASE) is not None


def _mend(part: str) -> str:
    return MENDS.get(part, SEE_LOG)
