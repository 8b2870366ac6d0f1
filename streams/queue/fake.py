"""The job queue's Redis in memory, for tests without a server, with the real queue on top of it.

`FakeRedis` is what the script does, told in Python. ``tests/integration/test_fenced_queue.py`` holds it and
the script on a real Redis to one contract.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from streams.queue.handoff import FENCED_PUSH, Fence, Push, RedisJobQueue
from streams.queue.pipelined import Script


class Snapshot(NamedTuple):
    """What a Redis has saved."""

    jobs: list[bytes]
    fences: dict[str, str]


class FakeRedis:
    """Keeps jobs in a list and fences by partition; `away` makes it an outage.

    Shared by several `FakeJobQueue`, it is one Redis with several workers.
    """

    def __init__(self) -> None:
        self.jobs: list[bytes] = []
        self.fences: dict[str, str] = {}
        self.away = False

    async def hget(self, _key: str, field: str) -> bytes | None:
        """Read a partition's fence."""
        self._answer()
        return self.fences[field].encode() if field in self.fences else None

    def register_script(self, _script: str) -> Script:
        """Return the only script there is: `streams.queue.handoff.FENCED_PUSH`."""
        return self._fenced_push

    async def ping(self) -> None:
        """Answer."""
        self._answer()

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def snapshot(self) -> Snapshot:
        """Return what a Redis would save now."""
        return Snapshot(list(self.jobs), dict(self.fences))

    def restore(self, snapshot: Snapshot) -> None:
        """Come back with what was saved."""
        self.jobs, self.fences = list(snapshot.jobs), dict(snapshot.fences)

    async def _fenced_push(self, *, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:  # noqa: ARG002 - the script's signature
        self._answer()
        partition, believed, max_jobs, *chunks = args
        text = self.fences.get(str(partition), "")
        if text != believed:
            return [Push.MOVED, text]
        if len(self.jobs) >= max_jobs:
            return [Push.FULL, text]
        outcomes: list[Push] = []
        while chunks:
            epoch, raw_offset, unique_offset, count, *chunks = chunks
            outcomes.append(self._push(partition, Fence(epoch, raw_offset, unique_offset), chunks[:count]))
            chunks = chunks[count:]
        return [outcomes, self.fences[str(partition)]]

    def _push(self, partition: int, chunk: Fence, jobs: Sequence[bytes]) -> Push:
        fence = Fence.parse(self.fences.get(str(partition), ""))
        if fence is not None and fence[:2] >= chunk[:2]:
            self.fences[str(partition)] = str(fence._replace(unique_offset=chunk.unique_offset))
            return Push.REPLAY
        self.jobs.extend(jobs)
        self.fences[str(partition)] = str(chunk)
        return Push.PUSHED

    def _answer(self) -> None:
        if self.away:
            raise RedisConnectionError("is away")


class FakeJobQueue(RedisJobQueue):
    """One worker's view of the queue: the real one, between it and a `FakeRedis`."""

    def __init__(self, max_jobs: int = 100_000, redis: FakeRedis | None = None) -> None:
        self.redis = redis or FakeRedis()
        super().__init__(
            cast("Redis", self.redis),
            prefix="",
            queue="default",
            topics="metrics",
            max_jobs=max_jobs,
            script=self.redis.register_script(FENCED_PUSH),
        )

    @property
    def jobs(self) -> list[bytes]:
        """What is on the queue."""
        return self.redis.jobs
