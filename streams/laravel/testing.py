"""The job queue's Redis in memory, for tests without a server, with the real queue on top of it.

`FakeRedis` is what the script does, told in Python. ``tests/integration/test_fenced_queue.py`` holds it and
the script on a real Redis to one contract.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from streams.counters import Statistics
from streams.kafka.histories import Histories
from streams.kafka.log_reader import FakeLogReader
from streams.laravel.fence import OWNER
from streams.laravel.pipelined_script import Script
from streams.laravel.push import Push, RedisJobQueue
from streams.laravel.replays import Replays
from streams.laravel.scripts import script


class Snapshot(NamedTuple):
    """What a Redis has saved."""

    jobs: list[bytes]
    fences: dict[str, str]


class FakeRedis:
    """Keeps jobs in a list and the fences' hash as a dict; `away` makes it an outage.

    Shared by several `FakeJobQueue`, it is one Redis with several workers.
    """

    def __init__(self) -> None:
        self.jobs: list[bytes] = []
        self.fences: dict[str, str] = {}
        self.away = False

    async def hmget(self, _key: str, fields: Sequence[str]) -> list[bytes | None]:
        """Read fields of the fences' hash."""
        self._answer()
        return [self.fences[field].encode() if field in self.fences else None for field in fields]

    async def hset(self, _key: str, field: str, value: str) -> int:
        """Write a field of the fences' hash."""
        self._answer()
        is_new = field not in self.fences
        self.fences[field] = value
        return int(is_new)

    def register_script(self, _script: str) -> Script:
        """Return the only script there is: ``push.lua``."""
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

    async def _fenced_push(self, *, keys: Sequence[str], args: Sequence[Any]) -> list[str]:  # noqa: ARG002 - the script's signature
        self._answer()
        partition, believed, proof, owner, max_jobs, new_fence, new_proof, locator, *jobs = args
        found = self.fences.get(str(partition), ""), self.fences.get(f"{partition}:proof", "")
        if self.fences.get(OWNER, owner) != owner:
            return [Push.OWNED, self.fences[OWNER], ""]
        if found != (believed, proof):
            return [Push.MOVED, *found]
        if jobs and len(self.jobs) >= max_jobs:
            return [Push.FULL, *found]
        self.jobs.extend(jobs)
        self.fences |= {str(partition): new_fence, f"{partition}:proof": new_proof, OWNER: owner}
        if locator:
            self.fences[f"{partition}:locator"] = locator
        return [Push.PUSHED, new_fence, new_proof]

    def _answer(self) -> None:
        if self.away:
            raise RedisConnectionError("is away")


class FakeJobQueue(RedisJobQueue):
    """One worker's view of the queue: the real one, between it and a `FakeRedis`."""

    def __init__(
        self, max_jobs: int = 100_000, redis: FakeRedis | None = None, owner: str = "metric-streams"
    ) -> None:
        self.redis = redis or FakeRedis()
        super().__init__(
            cast("Redis", self.redis),
            prefix="",
            queue="default",
            topics="metrics",
            owner=owner,
            max_jobs=max_jobs,
            script=self.redis.register_script(script("push")),
        )

    @property
    def jobs(self) -> list[bytes]:
        """What is on the queue."""
        return self.redis.jobs


class FakeReplays(Replays):
    """Knows what it was told to note, and no log."""

    def __init__(self, statistics: Statistics, topic: str = "metrics.unique") -> None:
        histories = Histories(FakeLogReader(lambda _tp: []), raw_topic="metrics.raw", unique_topic=topic)
        super().__init__(histories, statistics, topic)
