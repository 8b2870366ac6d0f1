"""Compares the clocks of all parts that tell the time with our own."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from statistics import median

from streams.database.session import connected
from streams.doctor.finding import Finding, broken, ok, warning
from streams.errors import Outage
from streams.laravel.redis_client import connect
from streams.laravel.redis_outages import answered
from streams.settings import Settings

PART = "clocks"
WRONG_S, DOUBTFUL_S = 60.0, 5.0
MEND = "Let it keep time by NTP (timedatectl set-ntp true); rows without a timestamp carry the worker's time"

Clock = Callable[[], Awaitable[float | None]]
"""Asks a part for its Unix time in seconds; None if it does not tell."""


async def redis_time(settings: Settings) -> float:
    """Ask Redis."""
    redis = connect(settings.redis_url.get_secret_value())
    try:
        seconds, microseconds = await answered(redis.time())
    finally:
        await redis.aclose()
    return float(seconds) + float(microseconds) / 1e6


async def postgres_time(settings: Settings) -> float:
    """Ask PostgreSQL."""
    async with connected(settings.database_url.get_secret_value()) as connection:
        return float(await connection.fetchval("select extract(epoch from clock_timestamp())::float8"))


async def ahead_of_ours(clock: Clock) -> float | None:
    """Return by how many seconds a clock is ahead of ours; None if it does not tell, or is away."""
    before_s = time.time()
    try:
        theirs_s = await clock()
    except (Outage, OSError):
        return None
    # The connection's making stands before the answer: the clock was read near the end.
    return None if theirs_s is None else _beyond(theirs_s, before_s, time.time())


def _beyond(theirs_s: float, before_s: float, after_s: float) -> float:
    """Return by how much a time lies outside of a span."""
    return theirs_s - after_s if theirs_s > after_s else min(0.0, theirs_s - before_s)


def of_clocks(ahead_s: Mapping[str, float]) -> Iterable[Finding]:
    """Return what is to be said, given how far each part's clock is ahead of ours, in seconds.

    Where all others agree with each other and not with us, it is ours that is wrong.
    """
    if not ahead_s:
        yield warning(PART, "no part told its time", "Look again once Redis or PostgreSQL answers")
        return
    ours_s = median(ahead_s.values()) if len(ahead_s) > 1 else 0.0
    is_ours = abs(ours_s) > DOUBTFUL_S and all(abs(each - ours_s) < DOUBTFUL_S for each in ahead_s.values())
    if is_ours:
        yield _wrong("this machine", -ours_s, f"as {' and '.join(ahead_s)} tell the time")
        return
    wrong = {name: each for name, each in ahead_s.items() if abs(each) > DOUBTFUL_S}
    yield from (_wrong(name, each, "by this machine's") for name, each in wrong.items())
    if right := [name for name in ahead_s if name not in wrong]:
        yield ok(PART, f"the clocks of this machine, {', '.join(right)} agree")


def _wrong(name: str, ahead_s: float, by: str) -> Finding:
    off = timedelta(seconds=round(abs(ahead_s)))
    seen = f"the clock of {name} is {off} {'ahead' if ahead_s > 0 else 'behind'}, {by}"
    return (broken if abs(ahead_s) >= WRONG_S else warning)(PART, seen, MEND)
