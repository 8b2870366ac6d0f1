"""refine: parse, validate and dedupe each chunk of metrics.raw; decide, record, emit.

Between metrics.raw and metrics.unique and metrics.rejected. What becomes of a chunk is recorded in the table
``seen`` before anything is emitted, so a chunk that comes again emits the very same again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from faust.types import StreamT

from agents.examine import by_reason
from agents.judge import Judge, Judged, Standing
from agents.loop import Record, carry
from streams.application import app, settings, statistics
from streams.kafka.app import raw_bytes
from streams.kafka.producer import Outgoing, deliver
from streams.models import Origin
from streams.postgres.tenants import TenantDirectory, Tenants
from streams.settings import Settings
from streams.statistics import Statistics
from streams.topics import SEEN_TABLE
from streams.wire import rejected, unique
from streams.wire.decision import Decision
from streams.wire.headers import headers
from tables.seen import SeenTable
from tables.seen_positions import SeenPositions
from tables.state import SeenState


class Seen(Standing, Protocol):
    """The table, as refine needs it."""

    async def record(self, decisions: Sequence[tuple[Origin, Decision]]) -> None:
        """Make decisions of one partition last, in order, or raise Outage."""
        ...


class Emit(Protocol):
    """Sends records in order and waits until Kafka has all, or raises Outage."""

    async def __call__(self, records: Sequence[Outgoing]) -> object:
        """Send them; what it returns says nothing more."""
        ...


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
        self._judge = Judge(settings, seen=seen, tenants=tenants, clock=clock)
        self._emit = emit
        self._statistics = statistics

    async def refine(self, records: Sequence[Record]) -> None:
        """Take successive chunks of one partition to metrics.unique and metrics.rejected.

        Raises:
            Outage: if Kafka or the tenants' database is away; nothing is decided by that.
            Displaced: if the coordinate belongs to an earlier life of metrics.raw.
        """
        chunks = await self._judge.judge(records)
        new = [chunk for chunk in chunks if chunk.is_new]
        if new:
            partition = new[0].origin.partition
            self._judge.attempts.begin(partition, new)
            await self._seen.record([(chunk.origin, chunk.decision) for chunk in new])
            self._judge.attempts.succeed(partition)
            for chunk in new:
                self._count(chunk)
        emitted = [record for chunk in chunks for record in self._records_of(chunk)]
        if emitted:
            await self._emit(emitted)

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


seen = SeenTable(
    app,
    memory=SeenState(window_s=settings.dedupe_window_s, max_ids=settings.dedupe_max_ids),
    name=SEEN_TABLE,
    help="What was decided on each chunk of the raw topic.",
    partitions=settings.topic_partitions,
    extra_topic_configs={"cleanup.policy": "compact"},
)
directory = TenantDirectory.from_settings(settings, statistics)
refinery = Refinery(settings, seen=seen, tenants=directory, emit=partial(deliver, app), statistics=statistics)

app.tables.add(seen)
app.position_sources[settings.raw_topic] = SeenPositions(seen, settings.raw_topic)
app.use(directory, probe=directory.check, part="postgres")


@app.agent(raw_bytes(app, settings.raw_topic), isolated_partitions=True, name="refine")
async def refine(stream: StreamT[bytes]) -> None:
    """Parse, validate and dedupe metrics.raw into metrics.unique and metrics.rejected."""
    await carry(stream, app.deliverer, refinery.refine, statistics)
