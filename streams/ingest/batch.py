"""Writes the jobs of one turn: together, and where that is refused, in halves down to single jobs."""

from collections.abc import Sequence

from streams.counters import Count, Statistics
from streams.errors import Outage, RowsDoubted, RowsRefused
from streams.ingest.outcomes import Outcomes
from streams.ingest.prepared_job import PreparedJob
from streams.ingest.store import MetricStore
from streams.laravel.reserve import ReservingQueue


class Batch:
    """One turn's; what is not settled in the end goes back.

    Args:
        queue: knows whether there is time left.
        store: where the rows go.
        outcomes: settles each job.
        statistics: counts the rows.

    Attributes:
        too_many: the smallest number of jobs, above one, that was refused without blame; None if none was.
    """

    def __init__(
        self, queue: ReservingQueue, store: MetricStore, outcomes: Outcomes, statistics: Statistics
    ) -> None:
        self._queue = queue
        self._store = store
        self._outcomes = outcomes
        self._statistics = statistics
        self._doubt: RowsDoubted | None = None
        self._doubted: list[tuple[PreparedJob, RowsDoubted]] = []
        self._others_passed = False
        self.too_many: int | None = None

    async def run(self, jobs: Sequence[PreparedJob]) -> None:
        """Write jobs and settle them.

        What there is no time for is left: done late, it would be done twice, and an attempt lost.

        Raises:
            Outage: the store is away, or takes no rows at all, or Redis does not know that we hold the jobs;
                nobody's try is used.
        """
        await self._settle(jobs)
        await self._judge()

    async def _settle(self, jobs: Sequence[PreparedJob]) -> None:
        if not jobs:
            return
        # Who stood still may have been taken for dead, or be late. What others have written since must stand.
        await self._queue.confirm()
        if self._queue.is_late:
            return
        try:
            rows = await self._store.write([taken.job for taken in jobs])
        except RowsRefused as refusal:
            if len(jobs) == 1:
                await self._outcomes.refused(jobs[0], refusal)
            else:
                await self._halve(jobs)
        except RowsDoubted as doubt:
            await self._in_doubt(jobs, doubt)
        else:
            # What passed before the doubt proves nothing: the table may have changed since.
            self._others_passed = self._doubt is not None
            self._statistics.messages[Count.INGESTED] += rows
            await self._outcomes.complete(jobs)

    async def _halve(self, jobs: Sequence[PreparedJob]) -> None:
        # In halves rather than one by one: a single bad row of 200 costs some fifteen statements, not two
        # hundred.
        middle = len(jobs) // 2
        # The earlier half first: of two jobs with the same id the later one must be written last.
        await self._settle(jobs[:middle])
        await self._settle(jobs[middle:])

    async def _in_doubt(self, jobs: Sequence[PreparedJob], doubt: RowsDoubted) -> None:
        """Take in that jobs were refused, by their own fault or not: first of all, are the tables right?"""
        if self._doubt is None:
            self._doubt = doubt
            await self._store.check()
        if len(jobs) == 1:
            self._doubted.append((jobs[0], doubt))
        else:
            self.too_many = min(len(jobs), self.too_many or len(jobs))
            await self._halve(jobs)

    async def _judge(self) -> None:
        """Fail the jobs that were refused alone if others pass; else the table or the server is to blame."""
        if self._doubt is None or (self._others_passed and not self._doubted):
            return
        if not self._doubted:
            raise self._doubt  # there was no time to find out; fewer at once may pass
        if not (self._others_passed or await self._store.takes_others()):
            first, doubt = self._doubted[0]
            raise Outage(
                doubt.part,
                f"refuses the rows of {len(self._doubted)} jobs, and a test row as well, so all jobs wait "
                f"and none uses up a try; the first is job {first.job.uuid}: {doubt.detail}",
            )
        for taken, doubt in self._doubted:
            await self._outcomes.refused(taken, RowsRefused(doubt.detail))
