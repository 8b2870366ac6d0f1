"""A store that is not waited for when the worker is told to stop."""

from collections.abc import Sequence

from streams.ingest.failing import FailedJob
from streams.ingest.outage_wait import OutageWait
from streams.ingest.store import MetricStore
from streams.laravel.job import Job


class StoppableStore:
    """A `MetricStore` in front of another; a call that is cut short is an `Outage`."""

    def __init__(self, store: MetricStore, outage_wait: OutageWait) -> None:
        self._store = store
        self._outage_wait = outage_wait

    async def check(self) -> None:
        """See `MetricStore.check`."""
        await self._outage_wait.cut_short(self._store.check())

    async def write(self, jobs: Sequence[Job]) -> int:
        """See `MetricStore.write`."""
        return await self._outage_wait.cut_short(self._store.write(jobs))

    async def takes_others(self) -> bool:
        """See `MetricStore.takes_others`."""
        return await self._outage_wait.cut_short(self._store.takes_others())

    async def fail(self, job: FailedJob) -> None:
        """See `MetricStore.fail`."""
        await self._outage_wait.cut_short(self._store.fail(job))
