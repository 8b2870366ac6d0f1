"""Puts back what was beyond a quota, by itself and no faster than the quota (``QUOTA_ACTION=hold``).

A message beyond its tenant's quota is on metrics.rejected, like any other that was rejected. Here it is
released as its tenant's quota allows, which is what ``rejected replay`` does by hand. It may be done twice,
by two workers or after a kill: refine drops what was put back before, and what a later value has replaced
([decision 8](../../docs/adr/0008-a-replay-keeps-the-first-place.md)).

refine knows later values for as long as it remembers ids. So what was held for half of that time is left to
the operator, whose command reads further back.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing

from streams.background import Background
from streams.counters import Note, Statistics
from streams.errors import MetricStreamsError
from streams.ingress.quota import Quota
from streams.rejections.allowance import Allowance
from streams.rejections.held import HeldMessages, KafkaHeldMessages
from streams.rejections.listing import Rejected
from streams.rejections.replay import MOST_AT_ONCE, put_back
from streams.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""From the end of one turn to the next."""
IDLE_SHARE = 9
"""After a turn, it rests for so many times as long as that took."""
SHARE_OF_WINDOW = 2
"""What was rejected within this part of the dedupe window is released."""
WARNED_S = 60.0
"""Before the oldest message is left to the operator."""

HOLDING = (
    "%d messages are beyond the quota of their tenants (%d) and held back, most of tenant %s: %d. They are "
    "put back as the quota allows"
)
ALL_RELEASED = "all messages that were held back because of a quota are put back"
GIVEN_UP = (
    "of %d messages that are held back because of a quota, the oldest have been held for nearly %d s, "
    "half of DEDUPE_WINDOW_S. From then on they are not put back by themselves, and stay on %s. Put them "
    "back with metric-streams rejected replay --reason quota_exceeded, and raise the quota"
)


class Release:
    """Puts messages back in turns, for as long as this worker is the one that should.

    Args:
        held: where they are.
        quota: of each tenant.
        statistics: counts those that were put back.
        rejected_topic: where they are, as it is called.
        hold_s: seconds after which a message is left to the operator.
        leads: tells whether this worker should.
        clock: returns Unix time in seconds.
        monotonic: a clock in seconds that never goes back.
    """

    def __init__(
        self,
        held: HeldMessages,
        quota: Quota,
        statistics: Statistics,
        *,
        rejected_topic: str,
        hold_s: float,
        leads: Callable[[], bool],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._held = held
        self._statistics = statistics
        self._rejected_topic = rejected_topic
        self._hold_s = hold_s
        self._leads = leads
        self._clock = clock
        self._monotonic = monotonic
        self._allowance = Allowance(quota)
        self._began: float | None = None
        """When the last turn began; None where this worker has not led until now."""
        self._starts: dict[int, int] = {}
        """By partition of metrics.rejected: before it, nothing is left to put back."""
        self._left: Counter[str] = Counter()
        """By tenant: messages that the last turn left."""
        self._rests_until = 0.0
        self._told = ""
        self._warned = False
        self._releasing = Background(
            "what puts held messages back",
            self._release,
            EVERY_S,
            statistics,
            meaning=f"Until it is mended, messages beyond a quota stay on {rejected_topic}",
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
        """How many messages were held back when it looked last."""
        return self._left.total()

    async def _release(self) -> None:
        began = self._monotonic()
        if began < self._rests_until:
            return
        try:
            await self.turn()
            self._told = ""
        except MetricStreamsError as error:
            self._tell(str(error))
        ended = self._monotonic()
        # With a long backlog a turn reads all of it: it must not take the worker from what comes in.
        self._rests_until = ended + IDLE_SHARE * (ended - began)

    async def turn(self) -> int:
        """Put back what the quotas allow since the turn before; return how many messages.

        Raises:
            MetricStreamsError: Kafka does not answer, or a topic is missing. The next turn goes on.
        """
        if not self._leads():
            self._began = None
            self._left.clear()
            return 0
        now, before = self._monotonic(), self._began
        self._began = now
        if before is None:
            # Others may have put back until now, and marked it: everything is looked at once more.
            self._starts.clear()
            before = now - EVERY_S
        self._allowance.begin(now - before)
        return await self._put_back()

    async def _put_back(self) -> int:
        ends = await self._held.ends()
        since_ms = round((self._clock() - self._hold_s) * 1_000)
        starts, left, oldest_ms = dict(ends), Counter[str](), None
        batch: list[Rejected] = []
        done = 0
        async with aclosing(self._held.found(since_ms, self._starts, ends)) as found:
            async for rejected in found:
                tenant, record = rejected.message.names[0], rejected.message.record
                if self._allowance.grants(tenant, len(put_back(rejected).payload_bytes())):
                    batch.append(rejected)
                else:
                    left[tenant] += 1
                    starts[record.partition] = min(starts[record.partition], record.offset)
                    oldest_ms = record.written_ms if oldest_ms is None else min(oldest_ms, record.written_ms)
                if len(batch) >= MOST_AT_ONCE:
                    done += await self._settle(batch)
                    batch = []
        done += await self._settle(batch)
        self._starts = starts
        self._report(left, None if oldest_ms is None else (oldest_ms - since_ms) / 1e3)
        self._left = left
        return done

    async def _settle(self, batch: list[Rejected]) -> int:
        if batch:
            async with self._held.returning() as returning:
                await returning.put_back(batch)
            self._statistics.notes[Note.QUOTA_RELEASED] += len(batch)
        return len(batch)

    def _report(self, left: Counter[str], soon_over_s: float | None) -> None:
        """Say when holding back begins and ends, and when some of it is about to be given up.

        Args:
            left: by tenant, what is held back now.
            soon_over_s: seconds after which the oldest of it is left to the operator.
        """
        if left and not self._left:
            tenant, most = left.most_common(1)[0]
            log.info(HOLDING, left.total(), len(left), tenant, most)
        elif self._left and not left:
            log.info(ALL_RELEASED)
            self._warned = False
        if soon_over_s is not None and soon_over_s < WARNED_S and not self._warned:
            self._warned = True
            log.warning(GIVEN_UP, left.total(), self._hold_s, self._rejected_topic)

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning("messages beyond a quota cannot be put back now: %s. Trying again", why)


def release_of(settings: Settings, statistics: Statistics, leads: Callable[[], bool]) -> Release | None:
    """Return what puts back what is beyond a quota; None where the settings want none."""
    quota = Quota.of(settings)
    if quota is None or settings.quota_action != "hold":
        return None
    return Release(
        KafkaHeldMessages(settings),
        quota,
        statistics,
        rejected_topic=settings.rejected_topic,
        hold_s=settings.dedupe_window_s / SHARE_OF_WINDOW,
        leads=leads,
    )
