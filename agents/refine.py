"""refine: parse, validate and dedupe each chunk of metrics.raw; decide, record, emit.

Between metrics.raw and metrics.unique and metrics.rejected. What becomes of a chunk is recorded in the table
``seen`` before anything is emitted, so a chunk that comes again emits the very same again.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
from faust.types import StreamT

from agents.dedupe import TogetherSeen, accepted, dedupe
from agents.examine import Examined, by_reason, examine, read_chunk
from agents.loop import Record, carry
from agents.validate import tenant_unknown
from streams.application import app, settings, statistics
from streams.errors import Displaced
from streams.kafka.app import raw_bytes
from streams.kafka.producer import Outgoing, deliver
from streams.models import Candidate, Message, Origin
from streams.postgres.tenants import TenantDirectory, Tenants
from streams.settings import Settings
from streams.statistics import Statistics
from streams.topics import SEEN_TABLE
from streams.wire import rejected, unique
from streams.wire.decision import FORMAT, Decision, Refusal, digest
from streams.wire.headers import headers
from tables.seen import SeenPositions, SeenTable
from tables.state import PartitionState, SeenState

log = logging.getLogger(__name__)


class Seen(Protocol):
    """The table, as refine needs it."""

    memory: SeenState

    async def record(self, decisions: Sequence[tuple[Origin, Decision]]) -> None:
        """Make decisions of one partition last, in order, or raise Outage."""
        ...

    async def drop_partition(self, partition: int) -> None:
        """Forget a partition's decisions for good, or raise Outage."""
        ...


class Emit(Protocol):
    """Sends records in order and waits until Kafka has all, or raises Outage."""

    async def __call__(self, records: Sequence[Outgoing]) -> None:
        """Send them."""
        ...


class Judged(NamedTuple):
    """A chunk and what becomes of its messages."""

    origin: Origin
    messages: Sequence[Message]
    decision: Decision
    accepted: list[Candidate]
    disagreeing: int
    is_new: bool
    """Whether the decision is still to be recorded."""


class Refinery:
    """The agent's work on records of metrics.raw."""

    def __init__(
        self,
        settings: Settings,
        *,
        seen: Seen,
        tenants: Tenants,
        emit: Emit,
        statistics: Statistics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._seen = seen
        self._tenants = tenants
        self._emit = emit
        self._statistics = statistics
        self._clock = clock

    async def refine(self, records: Sequence[Record]) -> None:
        """Take successive chunks of one partition to metrics.unique and metrics.rejected.

        Raises:
            Outage: if Kafka or the tenants' database is away; nothing is decided by that.
            Displaced: if the coordinate belongs to an earlier life of metrics.raw.
        """
        chunks = await self._judge(records)
        new = [chunk for chunk in chunks if chunk.is_new]
        if new:
            await self._seen.record([(chunk.origin, chunk.decision) for chunk in new])
            for chunk in new:
                self._count(chunk)
        emitted = [record for chunk in chunks for record in self._records_of(chunk)]
        if emitted:
            await self._emit(emitted)

    async def _judge(self, records: Sequence[Record]) -> list[Judged]:
        """Say of each chunk what becomes of it; what was decided before stands, whatever holds by now."""
        partition = records[0].partition
        state = self._seen.memory.partition(partition)
        settled_below = state.settled_below or 0
        # What lies before was emitted, or the later decision would not stand.
        records = [record for record in records if record.offset >= settled_below]
        examined = [None if record.offset in state.unsettled else self._examine(record) for record in records]
        await self._check_tenants([each for each in examined if each is not None])
        together = TogetherSeen(state)
        chunks: list[Judged] = []
        for record, each in zip(records, examined, strict=True):
            origin = Origin(partition, record.offset)
            if each is None:
                chunks.append(await self._again(origin, record.value, state.unsettled[record.offset]))
                continue
            unsettled = record.offset - records[0].offset
            decision = self._decide(record, each, together, _epoch(state, records[0]), unsettled)
            if len(records) > 1:
                together.accept(decision.pairs())
            kept = accepted(each.candidates, decision.duplicates)
            chunks.append(Judged(origin, each.messages, decision, kept, each.disagreeing, is_new=True))
        return chunks

    def _examine(self, record: Record) -> Examined:
        messages, unreadable = read_chunk(record.value)
        if unreadable:
            return Examined(messages, {}, unreadable, 0)
        origin = Origin(record.partition, record.offset)
        return examine(messages, origin, self._settings.max_clock_skew_s)

    def _decide(
        self, record: Record, examined: Examined, seen: TogetherSeen, epoch: int, unsettled: int
    ) -> Decision:
        now = self._clock()
        verdict = dedupe(examined.candidates, seen, now - self._settings.dedupe_window_s)
        return Decision(
            FORMAT,
            epoch,
            now,
            digest(record.value),
            verdict.duplicates,
            _refusals(examined),
            verdict.fingerprints,
            unsettled,
        )

    async def _again(self, origin: Origin, value: bytes, decision: Decision) -> Judged:
        """Return what was decided, if it was about this very record."""
        if decision.digest != digest(value):
            await self._seen.drop_partition(origin.partition)
            raise Displaced(
                "another record was decided on here: metrics.raw was recreated, a new epoch begins"
            )
        messages, _ = read_chunk(value)
        settled = {refusal.index for refusal in decision.refusals} | set(decision.duplicates)
        examined = examine(messages, origin, math.inf, skip=settled)
        if examined.rejections:
            # Only a change of the rules between two versions does that: then what was accepted is explained.
            log.error(
                "%d messages of chunk %s were accepted and are no longer valid",
                len(examined.rejections),
                origin,
            )
            decision = msgspec.structs.replace(decision, refusals=[*decision.refusals, *_refusals(examined)])
        return Judged(origin, messages, decision, list(examined.candidates.values()), 0, is_new=False)

    async def _check_tenants(self, chunks: Sequence[Examined]) -> None:
        """Turn the candidates of unknown tenants into rejections."""
        asked = {candidate.reading.tenant_id for chunk in chunks for candidate in chunk.candidates.values()}
        unknown = asked - await self._tenants.known(asked) if asked else set()
        for chunk in chunks if unknown else ():
            candidates = chunk.candidates
            for index in [i for i, one in candidates.items() if one.reading.tenant_id in unknown]:
                chunk.rejections[index] = tenant_unknown(candidates.pop(index).reading.tenant_id)

    def _count(self, chunk: Judged) -> None:
        counts, decision = self._statistics.messages, chunk.decision
        counts["refined"] += len(chunk.messages)
        counts["duplicate"] += len(decision.duplicates)
        counts["accepted"] += len(chunk.accepted)
        counts["rejected"] += len(decision.refusals)
        self._statistics.rejected.update(refusal.reason for refusal in decision.refusals)
        self._statistics.notes["payload_disagrees"] += chunk.disagreeing

    def _records_of(self, chunk: Judged) -> Iterator[Outgoing]:
        origin, decision = chunk.origin, chunk.decision
        readings = [candidate.reading for candidate in chunk.accepted]
        if readings:
            yield Outgoing(
                self._settings.unique_topic,
                unique.encode(origin, readings),
                origin.partition,
                headers(len(readings), epoch=str(decision.epoch)),
            )
        for (stage, reason), group in by_reason(chunk.messages, decision.refusals).items():
            yield Outgoing(
                self._settings.rejected_topic,
                rejected.encode(origin, stage, reason, group),
                origin.partition,
                headers(len(group), stage=stage, reason=reason),
            )


def _epoch(state: PartitionState, first: Record) -> int:
    """Return the epoch in which what comes next is decided.

    A partition without decisions begins one: were its raw log or its table recreated, the fence of the old
    epoch must not hold back the new one's offsets. The record names it, not the clock, so that two workers
    that both take the first record for theirs name the same one.
    """
    return state.last.epoch if state.last is not None else max(first.timestamp_ms, state.first_epoch)


def _refusals(examined: Examined) -> list[Refusal]:
    return [
        Refusal(index, rejection.stage, rejection.reason, rejection.detail)
        for index, rejection in sorted(examined.rejections.items())
    ]


seen = SeenTable(
    app,
    memory=SeenState(window_s=settings.dedupe_window_s, max_ids=settings.dedupe_max_ids),
    name=SEEN_TABLE,
    partitions=settings.topic_partitions,
    extra_topic_configs={"cleanup.policy": "compact"},
)
directory = TenantDirectory.from_settings(settings, statistics)
refinery = Refinery(settings, seen=seen, tenants=directory, emit=partial(deliver, app), statistics=statistics)

app.tables.add(seen)
app.position_sources[settings.raw_topic] = SeenPositions(seen)
app.use(directory, probe=directory.check, part="postgres")


@app.agent(raw_bytes(app, settings.raw_topic), isolated_partitions=True, name="refine")
async def refine(stream: StreamT[bytes]) -> None:
    """Parse, validate and dedupe metrics.raw into metrics.unique and metrics.rejected."""
    # One at a time, although `Refinery` can take several: with several, once in some 70,000 steps, the model
    # finds two workers that decide differently on a chunk, and why is not understood yet.
    await carry(stream, app.deliverer, refinery.refine, statistics, at_most=1)
