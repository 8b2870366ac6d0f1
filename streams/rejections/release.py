"""Puts back what was beyond a quota, by itself and no faster than the quota (``QUOTA_ACTION=hold``).

A message beyond its tenant's quota is on metrics.rejected, like any other that was rejected. Here it is
released as its tenant's quota allows, which is what ``rejected replay`` does by hand. It may be done twice,
by two workers or after a kill: refine drops what was put back before, and what a later value has replaced
([decision 8](../../docs/adr/0008-a-replay-keeps-the-first-place.md)).

refine knows later values for as long as it remembers ids. So what was held for half of that time is left to
the operator, whose command reads further back. So is what is more than a quota lets back in that time.

metrics.rejected is read once, however long it takes to put back what is there: `HeldBacklog` keeps the
places.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple

from streams.background import Background
from streams.counters import Note, Statistics
from streams.errors import MetricStreamsError
from streams.ingress.chunking import partition_of
from streams.ingress.quota import Quota
from streams.rejections.allowance import Allowance
from streams.rejections.backlog import GivenUp, HeldBacklog, NextMessages
from streams.rejections.held import HeldMessages, KafkaHeldMessages, LogChanged, Returning
from streams.rejections.listing import Rejected
from streams.rejections.pace import Pace
from streams.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""From the end of one turn to the next."""
READ_AT_ONCE_S = 20.0
"""A turn reads for so long, and then puts back what it has, also where there is more."""
MOST_ELAPSED_S = 60.0
"""Of the time since the turn before, so much is given away: after an outage not all of it at once."""
MOST_AT_ONCE, MOST_BYTES_AT_ONCE = 1_000, 2 * 1024 * 1024
"""What is put back and marked together."""
MOST_PLACES = 200
"""Of how many tenants and records that is at most: each record has to be fetched again."""
MOST_BATCHES = 5
"""In a turn."""
WARNED_S = 60.0
"""Before the oldest message is left to the operator."""
AHEAD_S = 60.0
"""By how much the time may be ahead, as it was when leading began."""
TOLD_EVERY_S = 600.0
"""How often it is said at most that messages are given up."""

HOLDING = (
    "%d messages are beyond the quota of their tenants (%d) and held back, most of tenant %s: %d. They are "
    "put back as the quota allows"
)
ALL_RELEASED = "all messages that were held back because of a quota are put back"
CHANGED = "%s is not the log that was read: it was made anew, or set back. All of it is looked at once more"
NONE_LEFT = "nothing is held back because of a quota any more; %d messages were given up, and stay on %s"
MEND = (
    "Put them back with metric-streams rejected replay --reason quota_exceeded, and raise the quota. They "
    "stay on %s until then"
)
SOON = (
    "of %d messages that are held back because of a quota, the oldest have been held for nearly %d s, half "
    "of DEDUPE_WINDOW_S. From then on they are not put back by themselves. " + MEND
)
GIVEN_UP = (
    "messages beyond a quota are not put back by themselves any more, the last of tenant %s: %d were held "
    "for %d s, half of DEDUPE_WINDOW_S, and %d are more than can be put back in that time. " + MEND
)


class Limits(NamedTuple):
    """What becomes of messages that are held."""

    quota: Quota
    """Of each tenant."""
    hold_s: float
    """After so long a message is left to the operator."""
    partitions: int
    """Of metrics.raw."""
    rejected_topic: str
    """As it is called."""


class _Term:
    """What a worker knows for as long as it leads."""

    def __init__(self, limits: Limits, clock_ms: int, broker_ms: int, monotonic_s: float) -> None:
        self.backlog = HeldBacklog(
            most_of_one=limits.quota.messages_per_s * limits.hold_s,
            most_bytes_of_one=limits.quota.bytes_per_s * limits.hold_s,
        )
        self.allowance = Allowance(limits.quota)
        self.turned_s = monotonic_s - EVERY_S
        # Our clock may be behind: then what is too old would look new. Later values come by metrics.raw, so
        # the broker's time of its newest record tells.
        self._ahead_ms = max(0, clock_ms - broker_ms)
        self._broker_ms, self._began_s = broker_ms, monotonic_s

    def now_ms(self, monotonic_s: float) -> int:
        """Return the Unix time in milliseconds, whatever our own clock does meanwhile."""
        return self._least_ms(monotonic_s) + self._ahead_ms

    def is_ahead(self, clock_ms: int, monotonic_s: float) -> bool:
        """Tell whether our clock was ahead when this began, and has been mended since."""
        latest_ms = max(clock_ms, self._least_ms(monotonic_s))
        return self.now_ms(monotonic_s) - latest_ms > AHEAD_S * 1_000

    def _least_ms(self, monotonic_s: float) -> int:
        return self._broker_ms + round((monotonic_s - self._began_s) * 1_000)


class Release:
    """Puts messages back in turns, for as long as this worker is the one that should.

    Args:
        held: where they are.
        limits: what becomes of them.
        statistics: counts those that were put back.
        leads: tells whether this worker should.
        clock: returns Unix time in seconds.
        monotonic: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        held: HeldMessages,
        limits: Limits,
        statistics: Statistics,
        *,
        leads: Callable[[], bool],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._held = held
        self._limits = limits
        self._statistics = statistics
        self._leads = leads
        self._clock = clock
        self._monotonic = monotonic
        self._term: _Term | None = None
        """None where this worker does not lead, or must look at everything once more."""
        self._is_holding = False
        self._given, self._given_since = GivenUp(), 0
        """Given up and not told yet; and how many since holding began."""
        self._told_at_s = self._warned_at_s = float("-inf")
        self._told = ""
        self._releasing = Background(
            "what puts held messages back",
            self._release,
            EVERY_S,
            statistics,
            meaning=f"Until it is mended, messages beyond a quota stay on {limits.rejected_topic}",
            first_at_once=False,
        )

    async def start(self) -> None:
        """Begin to put back."""
        self._releasing.begin()

    async def stop(self) -> None:
        """Cease. What was put back and not marked is put back again by another, and dropped."""
        await self._releasing.end()

    @property
    def left(self) -> int:
        """How many messages are held back, as far as this worker has looked."""
        return 0 if self._term is None else len(self._term.backlog)

    async def _release(self) -> None:
        try:
            await self.turn()
            self._told = ""
        except MetricStreamsError as error:
            self._tell(str(error))

    async def turn(self) -> int:
        """Put back what the quotas allow since the turn before; return how many messages.

        Raises:
            MetricStreamsError: Kafka does not answer, or a topic is missing. The next turn goes on.
        """
        if not self._leads():
            self._term, self._is_holding, self._given_since = None, False, 0
            self._told_at_s = self._warned_at_s = float("-inf")
            return 0
        if self._term is not None and self._term.is_ahead(self._clock_ms(), self._monotonic()):
            self._term = None
        term = self._term or await self._begun()
        has_read_all = False
        try:
            has_read_all = await self._read(term)
            since_ms = self._since_ms(term)
            for _ in term.backlog.expire(since_ms):
                await asyncio.sleep(0)
            return await self._put_back(term)
        except LogChanged:
            log.warning(CHANGED, self._limits.rejected_topic)
            self._term, self._is_holding, self._given_since = None, False, 0
            return 0
        finally:
            if self._term is term:
                self._report(term, has_read_all=has_read_all)

    def _clock_ms(self) -> int:
        return round(self._clock() * 1_000)

    async def _begun(self) -> _Term:
        broker_ms = await self._held.broker_ms()
        self._term = _Term(self._limits, self._clock_ms(), broker_ms, self._monotonic())
        # Twice as far back as it puts back: what is too old by now is told, whoever led then.
        self._held.begin(self._since_ms(self._term, times=2))
        return self._term

    def _since_ms(self, term: _Term, *, times: int = 1) -> int:
        return max(0, term.now_ms(self._monotonic()) - round(times * self._limits.hold_s * 1_000))

    async def _read(self, term: _Term) -> bool:
        """Take in what came; return whether that is all."""
        self._held.forget(self._since_ms(term, times=2))
        until_s = self._monotonic() + READ_AT_ONCE_S
        async with aclosing(self._held.read()) as records:
            async for record in records:
                term.backlog.add(record, since_ms=self._since_ms(term))
                if self._monotonic() >= until_s or not self._leads():
                    return False
        return True

    async def _put_back(self, term: _Term) -> int:
        now_s = self._monotonic()
        term.allowance.begin(min(now_s - term.turned_s, MOST_ELAPSED_S))
        term.turned_s = now_s
        done = 0
        async with AsyncExitStack() as stack:
            way: Returning | None = None
            for _ in range(MOST_BATCHES):
                chosen = self._chosen(term)
                if not chosen or not self._leads():
                    break
                if way is None:  # one connection for a turn, and none where nothing may go
                    way = await stack.enter_async_context(self._held.returning())
                done += await self._settle(term, chosen, way)
        return done

    def _chosen(self, term: _Term) -> list[NextMessages]:
        most = {"most_messages": MOST_AT_ONCE, "most_bytes": MOST_BYTES_AT_ONCE, "most_chosen": MOST_PLACES}
        return list(term.backlog.choose(term.allowance.grants, **most))

    async def _settle(self, term: _Term, chosen: Sequence[NextMessages], way: Returning) -> int:
        """Put back what was chosen; return how many messages. A partition that takes none stops no other."""
        found = await self._held.fetch(chosen)
        parts: dict[int, list[tuple[NextMessages, list[Rejected]]]] = {}
        for each, messages in zip(chosen, found, strict=True):
            partition = partition_of(each.tenant, self._limits.partitions)
            parts.setdefault(partition, []).append((each, messages))
        batches = ([one for _, messages in part for one in messages] for part in parts.values())
        outcomes = await asyncio.gather(*map(way.put_back, batches), return_exceptions=True)
        done = 0
        for part, outcome in zip(parts.values(), outcomes, strict=True):
            if outcome is None:
                for each, messages in part:
                    term.backlog.taken(each)
                    done += len(messages)
        self._statistics.notes[Note.QUOTA_RELEASED] += done
        for error in filter(None, outcomes):
            raise error
        return done

    def _report(self, term: _Term, *, has_read_all: bool) -> None:
        """Say when holding back begins and ends, and when some of it is given up, or is about to be."""
        backlog, topic, now_s = term.backlog, self._limits.rejected_topic, self._monotonic()
        given = backlog.take_given()
        self._given_since += given.too_old + given.too_many
        self._given = GivenUp(
            self._given.too_old + given.too_old,
            self._given.too_many + given.too_many,
            given.tenant if given.too_old or given.too_many else self._given.tenant,
        )
        if backlog and not self._is_holding:
            self._is_holding = True
            log.info(HOLDING, len(backlog), backlog.tenants, *backlog.worst)
        self._warn(backlog, term.now_ms(now_s), now_s)
        if self._given[:2] != (0, 0) and now_s - self._told_at_s >= TOLD_EVERY_S:
            self._told_at_s = now_s
            too_old, too_many, tenant = self._given
            self._given = GivenUp()
            log.warning(GIVEN_UP, tenant, too_old, self._limits.hold_s, too_many, topic)
        if self._is_holding and not backlog and has_read_all:
            if self._given_since:
                log.info(NONE_LEFT, self._given_since, topic)
            else:
                log.info(ALL_RELEASED)
            self._is_holding, self._given_since = False, 0

    def _warn(self, backlog: HeldBacklog, now_ms: int, now_s: float) -> None:
        oldest_ms = backlog.oldest_ms
        if oldest_ms is None or now_s - self._warned_at_s < TOLD_EVERY_S:
            return
        if (now_ms - oldest_ms) / 1e3 > self._limits.hold_s - WARNED_S:
            self._warned_at_s = now_s
            log.warning(SOON, len(backlog), self._limits.hold_s, self._limits.rejected_topic)

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning("messages beyond a quota cannot be put back now: %s. Trying again", why)


def release_of(settings: Settings, statistics: Statistics, leads: Callable[[], bool]) -> Release | None:
    """Return what puts back what is beyond a quota; None where the settings want none."""
    if settings.quota_action != "hold":
        return None
    # Without a quota by now, what was held before still goes back.
    quota = Quota.of(settings) or Quota(float("inf"), float("inf"), settings.quota_burst_s)
    limits = Limits(
        quota,
        settings.quota_hold_s,
        settings.topic_partitions,
        settings.rejected_topic,
    )
    return Release(KafkaHeldMessages(settings, Pace()), limits, statistics, leads=leads)
