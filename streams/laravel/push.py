r"""The hand-off into the Laravel queue: jobs and fence in one script, so once in effect.

Between handoff and Redis. The fence (`streams.laravel.fence`) stands beside the queue itself, so a Redis that
comes back with older data has an older fence. The queue's keys are those of ``Illuminate\Queue\RedisQueue``:
a push is an RPUSH of the payload to ``queues:{name}`` and of 1 to ``queues:{name}:notify``.
"""

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, Self

from redis.asyncio import Redis

from streams.errors import StartupRefused
from streams.laravel.fence import OWNER, Fence, FenceState
from streams.laravel.pipelined_script import PipelinedScript, Script
from streams.laravel.redis_outages import answered
from streams.laravel.scripts import script as lua
from streams.settings import Settings

log = logging.getLogger(__name__)


class Push(StrEnum):
    """What became of a push."""

    PUSHED = "pushed"
    FULL = "full"
    """The queue is at its limit: nothing was done."""
    MOVED = "moved"
    """The fence is not where this worker left it: nothing was done."""
    OWNED = "owned"
    """The fence is another consumer group's: nothing was done."""


class ChunkOfJobs(NamedTuple):
    """What is pushed of one chunk."""

    fence: Fence
    """Where the fence is when it has been pushed."""
    jobs: Sequence[bytes]
    readings: int = 0
    """How many metrics it holds."""
    is_replay: bool = False
    """Whether it was handed off before: then there are no jobs, and only the fence moves behind it."""
    tenants: Mapping[str, int] = {}
    """How many metrics each job holds, by its tenant."""


class JobQueue(Protocol):
    """The Redis queue, as handoff needs it."""

    async def standing(self, partition: int) -> FenceState:
        """Read a partition's fence, and take it for what the next push must find.

        Raises:
            Outage: if Redis does not answer.
            StartupRefused: if it is another consumer group's.
            NewerFormat: if a newer version wrote it.
        """
        ...

    async def is_unmoved(self, partition: int) -> bool:
        """Tell whether the fence is where this worker has read it, or left it.

        Raises:
            Outage: if Redis does not answer.
        """
        ...

    async def mark_lost(self, partition: int, fence: Fence) -> None:
        """Note which chunk was pushed of a log that is gone: the fence is about to move to another.

        Raises:
            Outage: if Redis does not answer.
        """
        ...

    async def push(self, partition: int, chunks: Sequence[ChunkOfJobs]) -> Push:
        """Push the jobs of successive chunks and move the fence behind them, or do nothing.

        Raises:
            Outage: if Redis does not answer; whether it was done shows at the next try.
            StartupRefused: if the fence is another consumer group's.
        """
        ...


class _Believed(NamedTuple):
    """What a push must find, and what it stands for."""

    standing: FenceState
    fence: str = ""
    proof: str = ""


class RedisJobQueue:
    """The real queue."""

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str,
        queue: str,
        topics: str,
        owner: str,
        max_jobs: int,
        script: Script | None = None,
    ) -> None:
        self._redis = redis
        self._fence_key = f"{prefix}metric-streams:{topics}:fence"
        self._keys = [self._fence_key, f"{prefix}queues:{queue}", f"{prefix}queues:{queue}:notify"]
        self._owner = owner
        self._max_jobs = max_jobs
        self._script = script or PipelinedScript(redis, lua("push"))
        self._believed: dict[int, _Believed] = {}
        self._pushing: set[int] = set()
        """Partitions with a push on its way: it finds out by itself whether the fence has moved."""

    @classmethod
    def from_settings(cls, redis: Redis, settings: Settings, script: Script | None = None) -> Self:
        """Return the queue that the settings describe."""
        return cls(
            redis,
            prefix=settings.queue_prefix,
            queue=settings.queue_name,
            topics=settings.topic_prefix,
            owner=settings.consumer_group,
            max_jobs=settings.handoff_max_queued_jobs,
            script=script,
        )

    async def standing(self, partition: int) -> FenceState:
        """Read a partition's fence."""
        fields = [str(partition), f"{partition}:proof", f"{partition}:locator", OWNER]
        found = await answered(self._redis.hmget(self._fence_key, fields))
        fence, proof, locator, owner = (_text(text or b"") for text in found)
        # Without an owner it is nobody's yet, and the first push marks it.
        if owner not in ("", self._owner):
            raise self._refusal(owner)
        standing = FenceState.parse(fence, proof, locator)
        before = self._believed.get(partition)
        if before is not None and (before.fence, before.proof) != (fence, proof):
            log.warning(
                "the fence of partition %d is %s, and not %s as this worker left it",
                partition,
                fence or "gone",
                before.fence,
            )
        # As texts too: the script compares what is there byte for byte, and what cannot be read must match as
        # well.
        self._believed[partition] = _Believed(standing, fence, proof)
        return standing

    async def is_unmoved(self, partition: int) -> bool:
        """Tell whether the fence is where this worker has read it, or left it."""
        fields = [str(partition), f"{partition}:proof"]
        before = self._believed.get(partition)
        found = await answered(self._redis.hmget(self._fence_key, fields))
        now = self._believed.get(partition)
        # A push of our own may have gone through while Redis was asked, or be in effect and not answered yet.
        return (
            partition in self._pushing
            or now is not before
            or before is None
            or [before.fence, before.proof] == [_text(text or b"") for text in found]
        )

    async def push(self, partition: int, chunks: Sequence[ChunkOfJobs]) -> Push:
        """Push the jobs of successive chunks and move the fence behind them, or do nothing."""
        believed = self._believed.get(partition, _Believed(FenceState()))
        # One fence for all of them: the script moves it once, behind the last.
        standing = believed.standing.moved(chunks[-1].fence)
        fence, proof, locator = standing.texts()
        # It moves with every sixteenth push alone; empty, the script leaves it as it is.
        if standing.locator == believed.standing.locator:
            locator = ""
        arguments: list[int | str | bytes] = [
            *(partition, believed.fence, believed.proof, self._owner, self._max_jobs, fence, proof, locator),
            *(job for chunk in chunks for job in chunk.jobs),
        ]
        self._pushing.add(partition)
        try:
            answer = await answered(self._script(keys=self._keys, args=arguments))
        finally:
            self._pushing.discard(partition)
        outcome, *found = map(_text, answer)
        if outcome == Push.OWNED:
            raise self._refusal(found[0])
        if outcome == Push.PUSHED or found == [fence, proof]:  # the latter by a script whose answer was lost
            self._believed[partition] = _Believed(standing, fence, proof)
            return Push.PUSHED
        return Push(outcome)

    def believed(self) -> Mapping[int, Fence]:
        """Return by partition the fence as this worker has read it, or left it."""
        standings = ((partition, believed.standing) for partition, believed in self._believed.items())
        return {partition: each.fence for partition, each in standings if each.fence is not None}

    async def mark_lost(self, partition: int, fence: Fence) -> None:
        """Note which chunk was pushed of a log that is gone: the fence is about to move to another.

        Raises:
            Outage: if Redis does not answer.
        """
        await answered(self._redis.hset(self._fence_key, f"{partition}:lost", fence.lost_text))

    async def fence(self, partition: int) -> Fence | None:
        """Return the chunk of a partition that was pushed last, or of a log that is gone, in the same epoch.

        None where there is neither. What `push` believes stays as it was.

        Raises:
            Outage: if Redis does not answer.
            NewerFormat: if a newer version wrote it.
        """
        fields = [str(partition), f"{partition}:proof", f"{partition}:lost"]
        texts = await answered(self._redis.hmget(self._fence_key, fields))
        fence, proof, lost_text = (_text(text or b"") for text in texts)
        found, lost = FenceState.parse(fence, proof, "").fence, Fence.parse_lost(lost_text)
        return lost if lost is not None and (found is None or lost.epoch >= found.epoch) else found

    async def is_ours(self) -> bool:
        """Tell whether the fence is marked as this consumer group's.

        Raises:
            Outage: if Redis does not answer.
        """
        found = await answered(self._redis.hmget(self._fence_key, [OWNER]))
        return _text(found[0] or b"") == self._owner

    async def adopt(self) -> None:
        """Mark the fence as this consumer group's, whosever it was.

        Raises:
            Outage: if Redis does not answer.
        """
        await answered(self._redis.hset(self._fence_key, OWNER, self._owner))

    def _refusal(self, owner: str) -> StartupRefused:
        return StartupRefused(
            f"the fence {self._fence_key} in Redis is that of CONSUMER_GROUP={owner}, and this worker's is "
            f"{self._owner}: two groups would push everything twice. Set CONSUMER_GROUP={owner}; or another "
            "TOPIC_PREFIX for a second pipeline; or, if that group is gone for good, hand its topics over "
            "with: setup --adopt"
        )

    async def start(self) -> None:
        """Do nothing: the client connects when it is first used."""

    async def stop(self) -> None:
        """Disconnect."""
        await self._redis.aclose()


def _text(answer: bytes | str) -> str:
    return answer if isinstance(answer, str) else answer.decode(errors="replace")
