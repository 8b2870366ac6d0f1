"""Puts rejected messages back onto metrics.raw, so that they pass every stage again.

Each keeps when it came and where it was first, so putting it back twice changes nothing
([decision 8](../../docs/adr/0008-a-replay-keeps-the-first-place.md)). A message is marked once Kafka has it:
what was killed in between is put back again by the next run, and dropped as a duplicate.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from streams.browse.reader import opened
from streams.ingress.chunk_writer import ChunkWriter, Written
from streams.ingress.chunking import partition_of, tenant_level
from streams.models import Message
from streams.progress import OnProgress, quiet
from streams.rejections.listing import Rejected, Selection, rejections
from streams.rejections.marks import Marks, MarkWriter, marking, read_marks
from streams.rejections.superseded import Superseded
from streams.rejections.tail import Tails
from streams.settings import Settings
from streams.wire.headers import REPLAY, headers
from streams.wire.mark import Fate
from streams.wire.raw import FRAMING_BYTES, SEPARATOR_BYTES, encode, join

MOST_AT_ONCE = 2_000
"""Messages that are put back and marked together: what a kill may leave unmarked."""
LEAST_AT_ONCE_S = 0.25
"""With a limit to the rate, so often at least."""


@dataclass
class Plan:
    """What a replay, or a dismissal, would do."""

    messages: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    """Those of which only the beginning was kept: they cannot be put back."""
    ends: dict[int, int] = field(default_factory=dict)
    """By partition: what came later is not meant."""


@dataclass
class ReplayOutcome:
    """What a replay has done."""

    replayed: int = 0
    superseded: int = 0
    """Left out, since a later value of their dedupe id, or they themselves, had been accepted."""
    cut: int = 0


def is_whole(rejected: Rejected) -> bool:
    """Tell whether a message was kept as it came, and could be read as MQTT."""
    return rejected.body.size_bytes is None and bool(rejected.body.topic)


async def plan(settings: Settings, selection: Selection, *, on_progress: OnProgress = quiet) -> Plan:
    """Count what a replay would put back.

    Raises:
        MetricStreamsError: a topic does not exist.
        Outage: Kafka does not answer.
    """
    made = Plan()
    async with opened(settings, ["rejected"], selection.span) as topics:
        made.ends = {tp.partition: held.end for tp, held in topics.ranges.items()}
    # Up to where it ends now: what is counted must be what is put back, whatever is rejected meanwhile.
    pinned = replace(selection, span=replace(selection.span, ends=made.ends))
    async with aclosing(rejections(settings, pinned, on_progress=on_progress)) as found:
        async for rejected in found:
            if is_whole(rejected):
                made.messages += 1
                made.by_reason[str(rejected.message.reason)] += 1
            else:
                made.cut += 1
    return made


class Replay:
    """Puts back what a plan has counted.

    Args:
        settings: name the topics.
        selection: which messages.
        ends: of the plan; None for the present ones.
        writer: writes to metrics.raw.
        rate: messages a second at most; None for no limit.
        on_progress: told how many messages of metrics.rejected of how many have been dealt with.
        sleep: waits.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        selection: Selection,
        *,
        writer: ChunkWriter,
        ends: dict[int, int] | None = None,
        rate: float | None = None,
        on_progress: OnProgress = quiet,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        span = selection.span if ends is None else replace(selection.span, ends=ends)
        self._selection = replace(selection, span=span)
        self._writer = writer
        self._rate = rate
        self._on_progress = on_progress
        self._sleep = sleep
        self._monotonic = monotonic
        self._superseded = Superseded(settings.topic_partitions)
        self._returned = ReturnedMessages(settings, writer)
        self.outcome = ReplayOutcome()

    async def run(self) -> ReplayOutcome:
        """Put the messages back.

        Raises:
            MetricStreamsError: a topic does not exist.
            Outage: Kafka does not answer, or does not take a record. What `outcome` says is done stays done,
                and the next run goes on with the rest.
        """
        marks = await read_marks(self._settings)
        await self._watch_for_later_values(marks)
        await self._writer.open()
        try:
            async with marking(self._settings) as marker:
                await self._put_back(marks, marker)
        finally:
            await self._writer.close()
        return self.outcome

    async def _watch_for_later_values(self, marks: Marks) -> None:
        async with aclosing(rejections(self._settings, self._selection, marks=marks)) as found:
            async for rejected in found:
                if is_whole(rejected):
                    self._superseded.watch(rejected)

    async def _put_back(self, marks: Marks, marker: MarkWriter) -> None:
        most = MOST_AT_ONCE if self._rate is None else _at_once(self._rate)
        batch: list[Rejected] = []
        found = rejections(self._settings, self._selection, marks=marks, on_progress=self._on_progress)
        async with aclosing(found) as messages:
            async for rejected in messages:
                if not is_whole(rejected):
                    self.outcome.cut += 1
                    continue
                batch.append(rejected)
                if len(batch) >= most:
                    await self._settle(batch, marker)
                    batch = []
        await self._settle(batch, marker)

    async def _settle(self, batch: Sequence[Rejected], marker: MarkWriter) -> None:
        """Put a batch back, and mark it."""
        if not batch:
            return
        began = self._monotonic()
        # Before each batch, not once: later values may be accepted while it runs.
        await self._superseded.look(self._settings)
        late = [each for each in batch if self._superseded.holds(each)]
        going = [each for each in batch if not self._superseded.holds(each)]
        await self._returned.write(going)
        # Behind the messages: a mark without its message would hide one that never went.
        await marker.write(Fate.REPLAYED, [each.message for each in going])
        await marker.write(Fate.SUPERSEDED, [each.message for each in late])
        self.outcome.replayed += len(going)
        self.outcome.superseded += len(late)
        if self._rate is not None:
            await self._sleep(max(0.0, len(batch) / self._rate - (self._monotonic() - began)))


def _at_once(rate: float) -> int:
    return max(1, min(MOST_AT_ONCE, int(rate * LEAST_AT_ONCE_S)))


class ReturnedMessages:
    """Writes rejected messages to metrics.raw once more.

    Args:
        settings: name the topic.
        writer: writes to it, and is open.
    """

    def __init__(self, settings: Settings, writer: ChunkWriter) -> None:
        self._settings = settings
        self._writer = writer
        self._tails = Tails(settings)

    async def write(self, batch: Sequence[Rejected]) -> None:
        """Write messages, of each partition in their order, and return when Kafka has them.

        Raises:
            Outage: Kafka does not answer, or does not take a record.
        """
        written: list[Written] = []
        by_partition: dict[int, list[bytes]] = {}
        for rejected in batch:
            partition = partition_of(tenant_level(rejected.body.topic), self._settings.topic_partitions)
            by_partition.setdefault(partition, []).append(encode(put_back(rejected)))
        try:
            for partition, encoded in by_partition.items():
                for chunk in chunks_of(encoded, self._settings):
                    # Before each record, since ingress may have written another term in between.
                    more = await self._tails.of(partition)
                    described = [*headers(len(chunk), **{REPLAY: "1"}), *more]
                    written.append(await self._writer.write(partition, join(chunk), described))
        finally:
            # All of them are queued first: one wait for Kafka instead of one for each record. To the end,
            # also where one fails: else nobody would take in what became of the others.
            outcomes = await asyncio.gather(*written, return_exceptions=True)
        for error in filter(None, outcomes):
            raise error


def put_back(rejected: Rejected) -> Message:
    """Return a message as it goes back onto metrics.raw: as it came, with its first place."""
    body = rejected.body
    return Message(
        body.topic, body.payload, body.payload_base64, body.received_at, body.qos, first=rejected.first
    )


def chunks_of(encoded: Sequence[bytes], settings: Settings) -> list[list[bytes]]:
    """Share messages among records, as ingress does: so many and so large at most."""
    chunks: list[list[bytes]] = []
    size_bytes = 0
    for message in encoded:
        size_bytes += len(message) + SEPARATOR_BYTES
        full = not chunks or len(chunks[-1]) >= settings.chunk_max_messages
        if full or size_bytes + FRAMING_BYTES > settings.chunk_max_bytes:
            chunks.append([])
            size_bytes = len(message) + SEPARATOR_BYTES
        chunks[-1].append(message)
    return chunks


async def dismiss(
    settings: Settings,
    selection: Selection,
    *,
    ends: dict[int, int] | None = None,
    on_progress: OnProgress = quiet,
) -> int:
    """Mark messages as dismissed; return how many.

    Raises:
        MetricStreamsError: a topic does not exist.
        Outage: Kafka does not answer, or does not take a mark.
    """
    span = selection.span if ends is None else replace(selection.span, ends=ends)
    pinned, done, batch = replace(selection, span=span, hidden=False), 0, list[Rejected]()
    async with (
        marking(settings) as marker,
        aclosing(rejections(settings, pinned, on_progress=on_progress)) as found,
    ):
        async for rejected in found:
            batch.append(rejected)
            if len(batch) >= MOST_AT_ONCE:
                await marker.write(Fate.DISMISSED, [each.message for each in batch])
                done, batch = done + len(batch), []
        await marker.write(Fate.DISMISSED, [each.message for each in batch])
    return done + len(batch)
