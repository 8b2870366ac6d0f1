"""Looks at what flows: what the worker, ingest and the database say of it at one moment.

For the display. The ledger trusts none of it and counts the topics itself.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import asyncpg

from streams.demo.pipeline import Pipeline
from streams.demo.readers import count_rows

SERVERS = ("kafka", "redis", "mqtt", "postgres")
PARTS = ("worker", "ingest", *SERVERS)
"""In the order in which they are shown."""


class Counts(NamedTuple):
    """What there was to see."""

    seconds: float
    """Since the devices began to send."""
    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: Mapping[str, int] = {}
    """By reason."""
    rows: int = 0
    lag_records: int = 0
    """Records of metrics.raw and metrics.unique that the worker has still to carry on."""
    lag_jobs: int = 0
    """Jobs that ingest has still to do."""
    troubles: Mapping[str, str] = {}
    """By part, what keeps it from its work; nothing where all is well."""

    @property
    def lag(self) -> int:
        """All that is on its way."""
        return self.lag_records + self.lag_jobs


class Watcher:
    """Takes one look after another; what does not answer is shown as it was seen last.

    Args:
        pipeline: asked through its pages.
        connection: for the rows; used by nobody else meanwhile.
        sent: tells how many messages have been sent.
    """

    def __init__(self, pipeline: Pipeline, connection: asyncpg.Connection, sent: Callable[[], int]) -> None:
        self._pipeline = pipeline
        self._connection = connection
        self._sent = sent
        self._last = Counts(0)

    async def look(self, seconds: float) -> Counts:
        """Return what there is to see now."""
        worker, ingest = self._pipeline.worker, self._pipeline.ingest
        flow, jobs, *ready = await asyncio.gather(
            worker.page(), ingest.page(), worker.page("health/ready"), ingest.page("health/ready")
        )
        seen = self._last._replace(seconds=seconds, sent=self._sent(), troubles=troubles(*ready))
        self._last = seen._replace(**_flow(flow), **_jobs(jobs), rows=await self._rows())
        return self._last

    async def _rows(self) -> int:
        try:
            return await count_rows(self._connection)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return self._last.rows


def _flow(page: Mapping[str, Any] | None) -> dict[str, Any]:
    if page is None:
        return {}
    messages = page["messages"]
    return {
        "accepted": messages.get("accepted", 0),
        "duplicates": messages.get("duplicate", 0),
        "rejected": page["rejected"],
        "lag_records": sum(page["lag_records_total"].values()),
    }


def _jobs(page: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if page is None or page["lag_jobs"] is None else {"lag_jobs": page["lag_jobs"]}


def troubles(worker: Mapping[str, Any] | None, ingest: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what keeps each part from its work, as the readiness of the worker and of ingest tells it."""
    found = {}
    for name, page in (("worker", worker), ("ingest", ingest)):
        if page is None:
            found[name] = "does not answer"
            continue
        for part, health in page["parts"].items():
            if not health["up"]:
                # Of what is no server, such as its consumer, a service speaks for itself.
                found[part if part in SERVERS else name] = health["detail"] or "is not ready"
    return found
