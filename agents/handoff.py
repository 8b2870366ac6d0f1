"""handoff: turn the chunks of metrics.unique into jobs of the Laravel queue, once in effect.

Between metrics.unique and Redis. One job for each tenant in the chunk; the fence beside the queue tells what
was pushed before, also to a worker that only thinks it owns the partition.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from faust.types import StreamT
from msgspec.structs import replace

from streams.counters import Count, Note, Statistics
from streams.errors import MalformedRecord, PositionMoved, QueueFull
from streams.faust_app import StreamsApp, raw_bytes
from streams.kafka.record_loop import Record, process_in_order
from streams.laravel.fence import Fence
from streams.laravel.fence_positions import FencePositions
from streams.laravel.job import JobRow, encode_job
from streams.laravel.job_names import job_names
from streams.laravel.pipelined_script import PipelinedScript
from streams.laravel.push import ChunkOfJobs, JobQueue, Push, RedisJobQueue
from streams.laravel.queue_gauge import QueueGauge
from streams.laravel.redis_client import connect
from streams.laravel.redis_health import handoff_health
from streams.laravel.redis_keys import fence_key
from streams.laravel.redis_memory import MemoryGuard, guarded
from streams.laravel.replays import ChunkId, Replays
from streams.laravel.scripts import script
from streams.models import Reading
from streams.settings import Settings
from streams.spans import traced
from streams.timings import HANDOFF
from streams.wire import unique
from streams.wire.headers import read_arrival, read_digest, read_epoch, read_link, read_messages

log = logging.getLogger(__name__)

Encode = Callable[[str, Sequence[JobRow], str, str], bytes]
"""`encode_job`, with what differs between applications."""

Told = tuple[Record, unique.UniqueChunk, ChunkId]
"""A record, what it says, and what its chunk is known by."""

NOT_OURS = "%s[%d] offset %d is no chunk of ours and is passed over: %s"


def encoder(settings: Settings, clock: Callable[[], float] = time.time) -> Encode:
    """Return `encode_job` for the application that the settings describe."""
    encode = partial(
        encode_job,
        job_class=settings.job_class,
        model_class=settings.tenant_model_class,
        model_connection=settings.model_connection,
        extras=settings.job_extras,
    )
    return lambda *job: encode(*job, now_s=clock())


class Handoff:
    """The agent's work on records of metrics.unique.

    Args:
        queue: takes the jobs.
        replays: knows what was handed off before.
        topic: metrics.unique, as it is called, for the log.
        derive_ids: whether a row without a dedupe id gets one.
        statistics: counts.
        encode: makes a job of a tenant's rows.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self,
        queue: JobQueue,
        replays: Replays,
        *,
        topic: str,
        derive_ids: bool,
        statistics: Statistics,
        encode: Encode = encode_job,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._replays = replays
        self._topic = topic
        self._derive_ids = derive_ids
        self._encode = encode
        self._statistics = statistics
        self._clock = clock

    async def hand_off(self, records: Sequence[Record]) -> None:
        """Push the jobs of successive chunks, unless they were pushed before.

        Raises:
            Outage: if Redis is away, or Kafka where a replay is to be proved.
            QueueFull: if the queue is at its limit: Kafka holds what follows.
            PositionMoved: if the fence moved: Redis came back with older data, or another worker pushed.
            StartupRefused: if the fence is another consumer group's.
        """
        partition = records[0].partition
        # Were one pushed again that is read again, the fence would go back behind what follows it.
        ahead = [record for record in records if not self._replays.is_behind(partition, record.offset)]
        told = [told for record in ahead if (told := self._read(record)) is not None]
        while told:
            told = told[await self._push_next(partition, told) :]

    async def _push_next(self, partition: int, told: Sequence[Told]) -> int:
        """Push the first ones, up to where refine has gone back, and return how many they are."""
        chunks = await self._next_chunks(partition, told)
        outcome = await self._queue.push(partition, chunks)
        if outcome is Push.FULL:
            raise QueueFull
        if outcome is Push.MOVED:
            # Nothing was done. Where to go on is asked anew, of Redis and of the log.
            raise PositionMoved(f"the fence is not where this worker left it before chunk {chunks[0].fence}")
        self._count(chunks)
        page, now = self._statistics.book.page(self._topic, partition), self._clock()
        for (record, _, known_by), handed_off in zip(told, chunks, strict=False):
            self._replays.note(partition, known_by, record.offset, is_replay=handed_off.is_replay)
            page.came_in += read_messages(record.headers) or handed_off.readings
            if handed_off.is_replay:
                page.replays += handed_off.readings
            else:
                page.pushed += handed_off.readings
                received_at = read_arrival(record.headers)
                self._statistics.timings.passed(HANDOFF, handed_off.readings, received_at, now)
        return len(chunks)

    async def _next_chunks(self, partition: int, told: Sequence[Told]) -> list[ChunkOfJobs]:
        chunks: list[ChunkOfJobs] = []
        together: list[ChunkId] = []
        for record, chunk, known_by in told:
            is_replay = await self._replays.is_proved(partition, known_by, record.offset, together)
            goes_back = not is_replay and self._replays.goes_back(partition, known_by, together)
            if goes_back and chunks:
                break  # what follows is judged by it, once it is noted
            together.append(known_by)
            chunks.append(self._jobs_of(record, chunk, known_by, is_replay=is_replay))
            if goes_back:
                break
        return chunks

    def _count(self, chunks: Sequence[ChunkOfJobs]) -> None:
        for chunk in chunks:
            if chunk.is_replay:
                self._statistics.notes[Note.CHUNKS_REPLAYED] += 1
            else:
                self._statistics.messages[Count.PUSHED] += chunk.readings
                self._statistics.messages[Count.JOBS] += len(chunk.jobs)
                self._statistics.busy_tenants.note(chunk.tenants)

    def _read(self, record: Record) -> Told | None:
        try:
            chunk, epoch = _read(record)
        except MalformedRecord as error:
            log.error(NOT_OURS, self._topic, record.partition, record.offset, error)
            return None
        return record, chunk, ChunkId(epoch, chunk.origin.offset, read_digest(record.headers))

    def _jobs_of(
        self, record: Record, chunk: unique.UniqueChunk, known_by: ChunkId, *, is_replay: bool
    ) -> ChunkOfJobs:
        epoch, raw_offset, digest = known_by
        fence = Fence(epoch, raw_offset, record.offset, digest, read_link(record.headers))
        if is_replay:
            return ChunkOfJobs(fence, [], len(chunk.readings), is_replay=True)
        by_tenant = _by_tenant(chunk)
        jobs = self._encoded(chunk, known_by, by_tenant)
        tenants = {tenant_id: len(readings) for tenant_id, readings in by_tenant.items()}
        return ChunkOfJobs(fence, jobs, len(chunk.readings), tenants=tenants)

    def _encoded(
        self, chunk: unique.UniqueChunk, known_by: ChunkId, by_tenant: Mapping[str, Sequence[Reading]]
    ) -> list[bytes]:
        return _jobs_of(
            chunk.origin.partition, by_tenant, known_by, derive_ids=self._derive_ids, encode=self._encode
        )


def jobs_of(
    chunk: unique.UniqueChunk, known_by: ChunkId, *, derive_ids: bool, encode: Encode = encode_job
) -> list[bytes]:
    """Return a chunk's jobs, one for each tenant, the same ones whenever it is asked, but for `Extras`."""
    return _jobs_of(chunk.origin.partition, _by_tenant(chunk), known_by, derive_ids=derive_ids, encode=encode)


def _by_tenant(chunk: unique.UniqueChunk) -> dict[str, list[Reading]]:
    by_tenant: dict[str, list[Reading]] = {}
    for reading in chunk.readings:
        by_tenant.setdefault(reading.tenant_id, []).append(reading)
    return by_tenant


def _jobs_of(
    partition: int,
    by_tenant: Mapping[str, Sequence[Reading]],
    known_by: ChunkId,
    *,
    derive_ids: bool,
    encode: Encode,
) -> list[bytes]:
    return [
        encode(
            tenant_id,
            _metrics_of(readings, derive_ids=derive_ids),
            *job_names(partition, known_by, tenant_id),
        )
        for tenant_id, readings in by_tenant.items()
    ]


def _metrics_of(readings: Sequence[Reading], *, derive_ids: bool) -> Sequence[Reading]:
    """Return a job's metrics, no dedupe id twice (PostgreSQL would refuse the upsert): the last one wins."""
    # Nearly every chunk needs no change, and a set tells that in one pass.
    ids = {reading.dedupe_id for reading in readings}
    if len(ids) == len(readings) and all(ids):  # usual
        return readings
    if derive_ids:
        metrics = [one if one.dedupe_id else replace(one, dedupe_id=one.key) for one in readings]
    else:
        metrics = [one if one.dedupe_id != "" else replace(one, dedupe_id=None) for one in readings]
    named = [metric.dedupe_id for metric in metrics if metric.dedupe_id is not None]
    return metrics if len(set(named)) == len(named) else _last_of_each(metrics)


def _last_of_each(metrics: Sequence[Reading]) -> list[Reading]:
    last: dict[str | int, Reading] = {}
    for index, metric in enumerate(metrics):
        place = index if metric.dedupe_id is None else metric.dedupe_id
        # Taken out first, so that the last one is also last in order.
        last.pop(place, None)
        last[place] = metric
    return list(last.values())


def _read(record: Record) -> tuple[unique.UniqueChunk, int]:
    """Return the chunk and its epoch.

    Raises:
        MalformedRecord: if the record is none of ours; a fence that it moved would hold back our own chunks.
    """
    chunk = unique.decode(record.value)
    if chunk.origin.partition != record.partition:
        raise MalformedRecord(f"it names partition {chunk.origin.partition} as its origin")
    return chunk, read_epoch(record.headers)


def build(app: StreamsApp) -> Handoff:
    """Add the agent to an app; nothing is opened."""
    settings, statistics, spans = app.settings, app.statistics, app.spans
    redis = connect(settings.redis_url.get_secret_value())
    memory = MemoryGuard(redis, max_share=settings.handoff_max_memory_share)
    queue = RedisJobQueue.from_settings(
        redis, settings, guarded(PipelinedScript(redis, script("push")), memory)
    )
    fence = fence_key(settings.queue_prefix, settings.topic_prefix)
    health = handoff_health(redis, settings.queue_prefix, settings.queue_name, fence)
    replays = Replays(app.histories, statistics, settings.unique_topic)
    agent = Handoff(
        queue,
        replays,
        topic=settings.unique_topic,
        derive_ids=settings.dedupe_id_when_missing == "derive",
        statistics=statistics,
        encode=encoder(settings),
    )
    work = traced(agent.hand_off, spans, HANDOFF, settings.unique_topic)

    app.fences = queue
    app.position_sources[settings.unique_topic] = FencePositions(
        queue,
        app.histories,
        app.log_reader,
        replays,
        statistics,
        topic=settings.unique_topic,
        rewind_s=settings.fence_lost_rewind_s,
        was_committed=partial(app.was_committed, settings.unique_topic),
    )
    app.use(queue, probe=health.check, part="redis")
    app.measure(QueueGauge.from_settings(settings))

    @app.agent(raw_bytes(app, settings.unique_topic), isolated_partitions=True, name="handoff")
    async def handoff(stream: StreamT[bytes]) -> None:
        """Push metrics.unique as ProcessMetricSubmission jobs onto the Laravel queue."""
        await process_in_order(stream, app.deliverer, work, statistics)

    return agent
