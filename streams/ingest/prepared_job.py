"""A job that was taken and can be read, with all that it leaves behind."""

from typing import NamedTuple, Self

from streams.ingest.rows import stamped
from streams.laravel import broadcast as publication
from streams.laravel.job import Job, decode_job
from streams.laravel.reserve import Broadcast, ReservedJob


class PreparedJob(NamedTuple):
    """A reserved job that can be read."""

    reserved: ReservedJob
    job: Job
    """With a timestamp in every metric."""
    publication: Broadcast

    @classmethod
    def read(cls, reserved: ReservedJob, *, job_class: str, now: str) -> Self:
        """Read a job and prepare all that it needs.

        Args:
            reserved: what was taken.
            job_class: the class of the jobs that are run here.
            now: the time in UTC, for metrics without a timestamp, as the job writes it.

        Raises:
            MalformedRecord: it cannot be read.
            ForeignJob: it is not ours to run.
        """
        job = stamped(decode_job(reserved.payload, job_class=job_class), now)
        # Before the rows are written: what cannot be published must fail the job, and not after it is done.
        message = publication.encode(job.metrics)
        return cls(reserved, job, Broadcast(f"tenant.{job.tenant_id}.metrics", message))
