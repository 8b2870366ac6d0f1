"""Runs checks side by side, each with a time of its own: a part that hangs holds up no other's line."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from streams.doctor.finding import Finding, broken
from streams.errors import MetricStreamsError, NewerFormat, Outage, StartupRefused, worded

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

Check = Callable[[], Awaitable[Sequence[Finding]]]


class Named(NamedTuple):
    """A check."""

    part: str
    what: str
    """What it looks at, as a line says it that could not look."""
    check: Check


async def examine(checks: Sequence[Named], limit_s: float) -> list[Finding]:
    """Run all checks at once; what each finds stands in the order of the checks."""
    found = await asyncio.gather(*(_examine(check, limit_s) for check in checks))
    return [finding for findings in found for finding in findings]


async def _examine(named: Named, limit_s: float) -> Sequence[Finding]:
    part, what, check = named
    task = asyncio.ensure_future(check())
    try:
        await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            return [_silent(part, what, limit_s)]
        return task.result()
    except Outage as outage:
        return [broken(part, _seen(part, outage), outage.mend or _mend(outage.part))]
    except (StartupRefused, NewerFormat) as refusal:
        return [broken(part, worded(refusal), "Do what it says: no worker can run like this")]
    except (OSError, MetricStreamsError) as error:
        return [broken(part, f"{what}: {worded(error)}", _mend(part))]
    except Exception as bug:  # noqa: BLE001 - the other lines are needed all the more
        return [
            broken(part, f"{what} could not be looked at: {bug!r}", "Please report it: the doctor has a bug")
        ]
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=GIVE_UP_S)


def _silent(part: str, what: str, limit_s: float) -> Finding:
    return broken(part, f"{what}: no answer within {limit_s:g} s", _mend(part))


def _seen(part: str, outage: Outage) -> str:
    return outage.seen if outage.part == part else f"{outage.part}: {outage.seen}"


def _mend(part: str) -> str:
    return MENDS.get(part, SEE_LOG)
