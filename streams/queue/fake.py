"""A job queue in memory, for tests without a server: the same fence, the same outcomes."""

from collections.abc import Sequence

from streams.errors import Outage
from streams.queue.handoff import Fence, Push


class FakeJobQueue:
    """Keeps jobs in a list; `away` makes it an outage, `snapshot` and `restore` an older Redis."""

    def __init__(self, max_jobs: int = 100_000) -> None:
        self.jobs: list[bytes] = []
        self.fences: dict[int, Fence] = {}
        self.max_jobs = max_jobs
        self.away = False
        self._believed: dict[int, Fence | None] = {}

    async def fence(self, partition: int) -> Fence | None:
        """Read a partition's fence."""
        self._answer()
        self._believed[partition] = self.fences.get(partition)
        return self._believed[partition]

    async def push(self, partition: int, chunk: Fence, jobs: Sequence[bytes]) -> Push:
        """Push a chunk's jobs and move the fence, or do nothing."""
        self._answer()
        fence = self.fences.get(partition)
        if fence != self._believed.get(partition):
            return Push.MOVED
        if fence is not None and fence[:2] >= chunk[:2]:
            return self._move(partition, fence._replace(unique_offset=chunk.unique_offset), Push.REPLAY)
        if len(self.jobs) >= self.max_jobs:
            return Push.FULL
        self.jobs.extend(jobs)
        return self._move(partition, chunk, Push.PUSHED)

    def snapshot(self) -> tuple[list[bytes], dict[int, Fence]]:
        """Return what a Redis would save now."""
        return list(self.jobs), dict(self.fences)

    def restore(self, snapshot: tuple[list[bytes], dict[int, Fence]]) -> None:
        """Come back with what was saved."""
        self.jobs, self.fences = list(snapshot[0]), dict(snapshot[1])

    def _move(self, partition: int, fence: Fence, outcome: Push) -> Push:
        self.fences[partition] = self._believed[partition] = fence
        return outcome

    def _answer(self) -> None:
        if self.away:
            raise Outage("redis", "is away")
