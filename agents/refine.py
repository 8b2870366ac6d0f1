"""refine: parse, validate and dedupe each chunk of metrics.raw; decide, record, emit.

Between metrics.raw and metrics.unique and metrics.rejected. What becomes of a chunk is recorded in the table
``seen`` before anything is emitted, so a chunk that comes again emits the very same again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol, cast

from faust.types import StreamT

from agents.decide import DecidedChunk, Decider, DecisionStore
from agents.examine import by_reason
from streams.counters import Count, Note, Statistics
from streams.database.tenants import TenantDirectory, Tenants
from streams.errors import PositionMoved
from streams.faust_app import StreamsApp, raw_bytes
from streams.kafka.producer import Outgoing, deliver
from streams.kafka.record_loop import Record, process_in_order
from streams.kafka.writer_names import WrittenRecords
from streams.last_seen.keeper import DeviceKeeper
from streams.models import Message, Origin
from streams.settings import Settings
from streams.spans import traced, traced_emit
from streams.timings import REFINE
from streams.topics import SEEN_TABLE
from streams.wire import rejected, unique
from streams.wire.decision import Decision
from streams.wire.headers import FIRSTS, headers, read_messages, written_firsts
from tables.seen import SeenTable
from tables.seen_positions import OwnersSay, SeenPositions
from tables.state import SeenState


class DecisionLog(DecisionStore, Protocol):
    """The table, as refine needs it."""

    async def record(self, decisions: Sequence[tuple[Origin, Decision]]) -> None:
        """Make decisions of one partition last, in order, or raise Outage."""
        ...


class Landed(Protocol):
    """Where a record has landed."""

    @property
    def offset(self) -> int:
        """In its partition."""
        ...


class Emit(Protocol):
    """Sends records in order and waits until Kafka has all, or raises Outage."""

    async def __call__(self, records: Sequence[Outgoing]) -> Sequence[Landed]:
        """Send them; return where each has landed."""
        ...


class Refinery:
    """The agent's work on records of metrics.raw."""

    def __init__(
        self,
        settings: Settings,
        *,
        seen: DecisionLog,
        tenants: Tenants,
        emit: Emit,
        statistics: Statistics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._seen = seen
        self._decider = Decider(settings, seen=seen, tenants=tenants, clock=clock)
        self._emit = emit
        self._clock = clock
        self._statistics = statistics
        self._written = WrittenRecords()

    async def refine(self, records: Sequence[Record]) -> None:
        """Take successive chunks of one partition to metrics.unique and metrics.rejected.

        Raises:
            Outage: if Kafka or the tenants' database is away; nothing is decided by that.
            PositionMoved: if the raw log is not the one that was decided on, or metrics.unique lost records.
        """
        chunks = await self._decider.decide(records)
        new = [chunk for chunk in chunks if chunk.is_new]
        if new:
            partition = new[0].origin.partition
            # Kept until Kafka has them: a retry must record the very same decisions (`Attempts`).
            self._decider.attempts.begin(partition, new)
            await self._seen.record([(chunk.origin, chunk.decision) for chunk in new])
            self._decider.attempts.succeed(partition)
            for chunk in new:
                # Here and not where it is decided: a decision that is tried again would count twice.
                self._count(chunk)
        # Also those that were decided on before: whether they were emitted nobody knows.
        if chunks:
            await self._emit_all(chunks)
        came_in = {record.offset: read_messages(record.headers) for record in records}
        now = self._clock()
        for chunk in chunks:
            self._enter(chunk, came_in[chunk.origin.offset] or len(chunk.messages))
            self._statistics.timings.passed(REFINE, len(chunk.messages), _arrival(chunk.messages), now)

    def _enter(self, chunk: DecidedChunk, came_in: int) -> None:
        page = self._statistics.book.page(self._settings.raw_topic, chunk.origin.partition)
        page.came_in += came_in
        page.accepted += len(chunk.accepted)
        page.rejected += len(chunk.decision.refusals)
        page.duplicates += len(chunk.decision.duplicates)

    async def _emit_all(self, chunks: Sequence[DecidedChunk]) -> None:
        partition = chunks[0].origin.partition
        outgoing = [(chunk.origin, record) for chunk in chunks for record in self._records_of(chunk)]
        if not outgoing:
            return
        with ExitStack() as unless_landed:
            # Whatever ends it, a cancellation as well: some records may not have landed.
            unless_landed.callback(self._written.interrupted, partition)
            landed = await self._emit([record for _, record in outgoing])
            unless_landed.pop_all()
        # Looked up only now: the partition may have been placed again while the records were on their way.
        state = self._seen.memory.partition(partition)
        for (origin, record), at in zip(outgoing, landed, strict=True):
            is_unique = record.topic == self._settings.unique_topic
            if is_unique and not state.emitted(origin.offset, at.offset):
                raise PositionMoved(
                    f"{record.topic}[{partition}] is shorter than it had been: it has lost records"
                )

    def _count(self, chunk: DecidedChunk) -> None:
        counts, decision = self._statistics.messages, chunk.decision
        self._statistics.devices.note(chunk.origin.partition, chunk.messages, decision.refusals)
        counts[Count.REFINED] += len(chunk.messages)
        counts[Count.DUPLICATE] += len(decision.duplicates)
        counts[Count.ACCEPTED] += len(chunk.accepted)
        counts[Count.REJECTED] += len(decision.refusals)
        self._statistics.rejected.update(refusal.reason for refusal in decision.refusals)
        if decision.refusals:
            self._statistics.refused.note(
                chunk.origin, chunk.messages, decision.refusals, decision.decided_at
            )
        self._statistics.notes[Note.PAYLOAD_DISAGREES] += chunk.disagreeing
        self._statistics.notes[Note.STALE_CHUNKS] += chunk.is_stale

    def _records_of(self, chunk: DecidedChunk) -> Iterator[Outgoing]:
        origin, decision = chunk.origin, chunk.decision
        readings = [candidate.reading for candidate in chunk.accepted]
        if readings:
            yield Outgoing(
                self._settings.unique_topic,
                unique.encode(origin, readings),
                origin.partition,
                headers(
                    len(readings),
                    epoch=str(decision.epoch),
                    digest=decision.digest.hex(),
                    group=self._settings.consumer_group,
                    # What was put back has waited elsewhere, so its age is no latency.
                    **({} if decision.firsts else {"received_at": chunk.messages[0].received_at}),
                    **self._written.next(origin.partition),
                    **({FIRSTS: written_firsts(decision.firsts)} if decision.firsts else {}),
                ),
            )
        for (stage, reason), group in by_reason(chunk.messages, decision.refusals).items():
            yield Outgoing(
                self._settings.rejected_topic,
                rejected.encode(origin, stage, reason, group),
                origin.partition,
                headers(len(group), stage=stage, reason=reason, epoch=str(decision.epoch)),
            )


def _arrival(messages: Sequence[Message]) -> str | None:
    """Return when a chunk's first message came; None where that tells no latency, as of what was put back."""
    return None if not messages or messages[0].first is not None else messages[0].received_at


def build(app: StreamsApp) -> Refinery:
    """Add the agent and its table to an app; nothing is opened."""
    settings, statistics, spans = app.settings, app.statistics, app.spans
    seen = SeenTable(
        app,
        memory=SeenState(window_s=settings.dedupe_window_s, max_ids=settings.dedupe_max_ids),
        name=SEEN_TABLE,
        help="What was decided on each chunk of the raw topic.",
        partitions=settings.topic_partitions,
        extra_topic_configs={"cleanup.policy": "compact"},
    )
    directory = TenantDirectory.from_settings(settings, statistics)
    refinery = Refinery(
        settings,
        seen=seen,
        tenants=directory,
        emit=cast("Emit", traced_emit(partial(deliver, app), spans, settings.unique_topic)),
        statistics=statistics,
    )
    work = traced(refinery.refine, spans, REFINE, settings.raw_topic)

    app.tables.add(seen)
    app.keep(DeviceKeeper(settings, statistics, lambda: app.held() if app.has_consumer else None))
    app.position_sources[settings.raw_topic] = SeenPositions(
        seen,
        app.histories,
        statistics,
        raw_topic=settings.raw_topic,
        unique_topic=settings.unique_topic,
        fence=app.fence,
        owners=OwnersSay(settings.consumer_group, app.is_adopted),
    )
    app.gauges["dedupe_ids"] = lambda: seen.memory.ids
    app.use(directory, probe=directory.check, part="postgres")

    @app.agent(raw_bytes(app, settings.raw_topic), isolated_partitions=True, name="refine")
    async def refine(stream: StreamT[bytes]) -> None:
        """Parse, validate and dedupe metrics.raw into metrics.unique and metrics.rejected."""
        await process_in_order(stream, app.deliverer, work, statistics)

    return refinery
