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
from typing import NamedTuple, Protocol, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streams.errors import Outage
from streams.kafka.positions import LogRange

log = logging.getLogger(__name__)

FENCED_PUSH = """
local fence = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if fence ~= ARGV[2] then
  return {'moved', fence}
end
local epoch, raw = string.match(fence, '^(%d+):(%d+):')
epoch, raw = tonumber(epoch or -1), tonumber(raw or -1)
local chunk_epoch, chunk_raw = tonumber(ARGV[3]), tonumber(ARGV[4])
if epoch > chunk_epoch or (epoch == chunk_epoch and raw >= chunk_raw) then
  local passed = string.format('%.0f:%.0f:%s', epoch, raw, ARGV[5])
  redis.call('HSET', KEYS[1], ARGV[1], passed)
  return {'replay', passed}
end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[6]) then
  return {'full', fence}
end
for i = 7, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
  redis.call('RPUSH', KEYS[3], 1)
end
local pushed = ARGV[3] .. ':' .. ARGV[4] .. ':' .. ARGV[5]
redis.call('HSET', KEYS[1], ARGV[1], pushed)
return {'pushed', pushed}
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


class JobQueue(Protocol):
    """The Redis queue, as handoff needs it."""

    async def fence(self, partition: int) -> Fence | None:
        """Read a partition's fence, and take it for what the next push must find.

        Raises:
            Outage: if Redis does not answer.
        """
        ...

    async def push(self, partition: int, chunk: Fence, jobs: Sequence[bytes]) -> Push:
        """Push a chunk's jobs and move the fence, or do nothing.

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

    def __init__(self, redis: Redis, *, prefix: str, queue: str, topics: str, max_jobs: int) -> None:
        self._redis = redis
        self._fence_key = f"{prefix}metric-streams:{topics}:fence"
        self._keys = [self._fence_key, f"{prefix}queues:{queue}", f"{prefix}queues:{queue}:notify"]
        self._max_jobs = max_jobs
        self._script = redis.register_script(FENCED_PUSH)
        self._believed: dict[int, str] = {}

    async def fence(self, partition: int) -> Fence | None:
        """Read a partition's fence."""
        try:
            found = await self._redis.hget(self._fence_key, str(partition))
        except (RedisError, OSError) as error:
            raise Outage("redis", str(error) or repr(error)) from error
        text = _text(found or b"")
        before, self._believed[partition] = self._believed.get(partition), text
        if before and text != before:
            log.warning(
                "the fence of partition %d is %s, and not %s as this worker left it", partition, text, before
            )
        return Fence.parse(text)

    async def push(self, partition: int, chunk: Fence, jobs: Sequence[bytes]) -> Push:
        """Push a chunk's jobs and move the fence, or do nothing."""
        believed = self._believed.get(partition, "")
        arguments: list[int | str] = [
            partition,
            believed,
            chunk.epoch,
            chunk.raw_offset,
            chunk.unique_offset,
            self._max_jobs,
        ]
        try:
            outcome, fence = await self._script(keys=self._keys, args=[*arguments, *jobs])
        except (RedisError, OSError) as error:
            raise Outage("redis", str(error) or repr(error)) from error
        return self._settle(partition, chunk, Push(_text(outcome)), _text(fence))

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
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise Outage("redis", str(error) or repr(error)) from error

    def _settle(self, partition: int, chunk: Fence, outcome: Push, fence: str) -> Push:
        if outcome is Push.MOVED:
            if fence != str(chunk):
                return Push.MOVED
            # Our own script, whose answer was lost with the connection.
            outcome = Push.PUSHED
        self._believed[partition] = fence
        return outcome


def _text(answer: bytes | str) -> str:
    return answer if isinstance(answer, str) else answer.decode(errors="replace")


class FencePositions:
    """Where handoff stands: one past the chunk that the fence names."""

    proven = True

    def __init__(self, queue: JobQueue, raw_end: "RawEnd") -> None:
        self._queue = queue
        self._raw_end = raw_end

    async def position(self, partition: int, log_range: LogRange, committed: int | None) -> int:
        """Return the offset of metrics.unique at which handoff resumes.

        Raises:
            Outage: if Redis does not answer.
        """
        fence = await self._queue.fence(partition)
        if fence is None:
            return _without_fence(partition, log_range, committed)
        if fence.raw_offset >= await self._raw_end(partition, fence.raw_offset):
            log.error(
                "metrics.raw[%d] was recreated: its fence %s lies beyond its end. A new epoch begins.",
                partition,
                fence,
            )
        return _within(partition, fence.unique_offset + 1, log_range)


class RawEnd(Protocol):
    """Asks Kafka for the end of a partition of metrics.raw."""

    async def __call__(self, partition: int, beyond: int) -> int:
        """Return the offset at which the log ends, or some offset in it that lies beyond one."""
        ...


def _within(partition: int, at: int, log_range: LogRange) -> int:
    if at > log_range.end:
        log.error(
            "metrics.unique[%d] was recreated: it ends at %d, %d was next.", partition, log_range.end, at
        )
        return log_range.start
    if at < log_range.start:
        log.error(
            "metrics.unique[%d] begins at %d but offset %d was next: retention removed what stood between.",
            partition,
            log_range.start,
            at,
        )
    return max(at, log_range.start)


def _without_fence(partition: int, log_range: LogRange, committed: int | None) -> int:
    if committed is None:
        return log_range.start
    log.error(
        "the fence of partition %d is gone from Redis (committed: %d). Jobs that were lost with it cannot be "
        "told; going on at the committed offset.",
        partition,
        committed,
    )
    return _within(partition, committed, log_range)
