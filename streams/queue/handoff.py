r"""The hand-off into the Laravel queue: jobs and fence in one script, so once in effect.

Between handoff and Redis. The fence of a partition is ``epoch:raw offset:unique offset`` of the chunk that
was pushed last, in the hash ``{prefix}metric-streams:{topics}:fence`` beside the queue itself, so a Redis
that comes back with older data has an older fence. The queue's keys are those of
``Illuminate\Queue\RedisQueue``: a push is an RPUSH of the payload to ``queues:{name}`` and of 1 to
``queues:{name}:notify``.
"""

import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from streams.kafka.positions import LogRange
from streams.queue.outages import answered
from streams.queue.pipelined import PipelinedScript, Script

log = logging.getLogger(__name__)

FENCED_PUSH = """
local fence = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if fence ~= ARGV[2] then
  return {'moved', fence}
end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[3]) then
  return {'full', fence}
end
local epoch, raw = string.match(fence, '^(%d+):(%d+):')
epoch, raw = tonumber(epoch or -1), tonumber(raw or -1)
local outcomes = {}
local at = 4
while at <= #ARGV do
  local chunk_epoch, chunk_raw = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local jobs = tonumber(ARGV[at + 3])
  if epoch > chunk_epoch or (epoch == chunk_epoch and raw >= chunk_raw) then
    table.insert(outcomes, 'replay')
  else
    for i = at + 4, at + 3 + jobs do
      redis.call('RPUSH', KEYS[2], ARGV[i])
      redis.call('RPUSH', KEYS[3], 1)
    end
    epoch, raw = chunk_epoch, chunk_raw
    table.insert(outcomes, 'pushed')
  end
  fence = string.format('%.0f:%.0f:%s', epoch, raw, ARGV[at + 2])
  at = at + 4 + jobs
end
redis.call('HSET', KEYS[1], ARGV[1], fence)
return {outcomes, fence}
"""

SOCKET_TIMEOUT_S = 5.0


class Fence(NamedTuple):
    """The chunk of a partition that was pushed last."""

    epoch: int
    raw_offset: int
    unique_offset: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a fence as Redis holds it; None for an absent or unreadable one."""
        parts = text.split(":")
        if len(parts) != len(cls._fields) or not all(part.isdigit() for part in parts):
            return None
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.raw_offset}:{self.unique_offset}"


class Push(StrEnum):
    """What became of a push."""

    PUSHED = "pushed"
    REPLAY = "replay"
    """The chunk's jobs had been pushed before."""
    FULL = "full"
    """The queue is at its limit: nothing was done."""
    MOVED = "moved"
    """The fence is not where this worker left it: nothing was done."""


class ChunkOfJobs(NamedTuple):
    """What is pushed of one chunk."""

    fence: Fence
    """Where the fence stands when it has been pushed."""
    jobs: Sequence[bytes]
    readings: int = 0
    """How many metrics the jobs hold."""


class JobQueue(Protocol):
    """The Redis queue, as handoff needs it."""

    async def fence(self, partition: int) -> Fence | None:
        """Read a partition's fence, and take it for what the next push must find.

        Raises:
            Outage: if Redis does not answer.
        """
        ...

    async def push(self, partition: int, chunks: Sequence[ChunkOfJobs]) -> list[Push]:
        """Push the jobs of successive chunks and move the fence behind them, or do nothing.

        Returns:
            What became of each chunk; if it is `Push.FULL` or `Push.MOVED`, it is so of all.

        Raises:
            Outage: if Redis does not answer; whether it was done shows at the next try.
        """
        ...


def connect(url: str) -> Redis:
    """Return a client of the job queue's Redis; it connects on first use."""
    # No retries of its own: the agents' loop retries, and knows that a script may have run.
    return Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


class RedisJobQueue:
    """The real queue."""

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str,
        queue: str,
        topics: str,
        max_jobs: int,
        script: Script | None = None,
    ) -> None:
        self._redis = redis
        self._fence_key = f"{prefix}metric-streams:{topics}:fence"
        self._keys = [self._fence_key, f"{prefix}queues:{queue}", f"{prefix}queues:{queue}:notify"]
        self._max_jobs = max_jobs
        self._script = script or PipelinedScript(redis, FENCED_PUSH)
        self._believed: dict[int, str] = {}

    async def fence(self, partition: int) -> Fence | None:
        """Read a partition's fence."""
        found = await answered(self._redis.hget(self._fence_key, str(partition)))
        text = _text(found or b"")
        before, self._believed[partition] = self._believed.get(partition), text
        if before and text != before:
            log.warning(
                "the fence of partition %d is %s, and not %s as this worker left it", partition, text, before
            )
        return Fence.parse(text)

    async def push(self, partition: int, chunks: Sequence[ChunkOfJobs]) -> list[Push]:
        """Push the jobs of successive chunks and move the fence behind them, or do nothing."""
        arguments: list[int | str | bytes] = [partition, self._believed.get(partition, ""), self._max_jobs]
        for fence, jobs, _ in chunks:
            arguments += (*fence, len(jobs), *jobs)
        outcome, found = await answered(self._script(keys=self._keys, args=arguments))
        return self._settle(partition, chunks, outcome, _text(found))

    async def start(self) -> None:
        """Do nothing: the client connects when it is first used."""

    async def stop(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def ping(self) -> None:
        """Ask Redis whether it answers.

        Raises:
            Outage: if it does not.
        """
        await answered(self._redis.ping())

    def _settle(self, partition: int, chunks: Sequence[ChunkOfJobs], outcome: Any, fence: str) -> list[Push]:
        if isinstance(outcome, list):
            outcomes = [Push(_text(of_chunk)) for of_chunk in outcome]
        elif (of_all := Push(_text(outcome))) is Push.MOVED and fence == str(chunks[-1].fence):
            outcomes = [Push.PUSHED for _ in chunks]  # by our own script, whose answer was lost
        else:
            return [of_all for _ in chunks]
        self._believed[partition] = fence
        return outcomes


def _text(answer: bytes | str) -> str:
    return answer if isinstance(answer, str) else answer.decode(errors="replace")


class FencePositions:
    """Where handoff stands: one past the chunk that the fence names."""

    proven = True

    def __init__(self, queue: JobQueue, raw_end: "RawEnd", *, raw_topic: str, unique_topic: str) -> None:
        self._queue = queue
        self._raw_end = raw_end
        self._raw_topic = raw_topic
        self._unique_topic = unique_topic

    async def position(self, partition: int, log_range: LogRange, committed: int | None) -> int:
        """Return the offset of metrics.unique at which handoff resumes.

        Raises:
            Outage: if Redis does not answer.
        """
        fence, name = await self._queue.fence(partition), f"{self._unique_topic}[{partition}]"
        if fence is None:
            return _without_fence(name, log_range, committed)
        if fence.raw_offset >= await self._raw_end(partition, fence.raw_offset):
            log.error(
                "%s[%d] was recreated: its fence %s lies beyond its end. A new epoch begins.",
                self._raw_topic,
                partition,
                fence,
            )
        return _within(name, fence.unique_offset + 1, log_range)


class RawEnd(Protocol):
    """Asks Kafka for the end of a partition of metrics.raw."""

    async def __call__(self, partition: int, beyond: int) -> int:
        """Return the offset at which the log ends, or some offset in it that lies beyond one."""
        ...


def _within(name: str, at: int, log_range: LogRange) -> int:
    if at > log_range.end:
        log.error("%s was recreated: it ends at %d, %d was next.", name, log_range.end, at)
        return log_range.start
    if at < log_range.start:
        log.error(
            "%s begins at %d but offset %d was next: retention removed what stood between.",
            name,
            log_range.start,
            at,
        )
    return max(at, log_range.start)


def _without_fence(name: str, log_range: LogRange, committed: int | None) -> int:
    if committed is None:
        return log_range.start
    log.error(
        "the fence of %s is gone from Redis (committed: %d). Jobs that were lost with it cannot be told: "
        "going on at the committed offset.",
        name,
        committed,
    )
    return _within(name, committed, log_range)
