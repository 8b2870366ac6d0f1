"""What ingress says at the end of metrics.raw, for what is written behind it by another.

A new leader of ingress looks at the newest records for the highest term and for its session
(`streams.ingress.terms`). Records of a replay must not hide them, so they carry them on.
"""

import asyncio
import time
from collections.abc import Callable

from streams.browse.reader import Range, opened
from streams.ingress.raw_tail import NEWEST
from streams.settings import Settings
from streams.wire.headers import SESSION, SUBSCRIPTION, TERM, read_term

FRESH_S = 1.0
CARRIED = (TERM, SESSION, SUBSCRIPTION)

Headers = tuple[tuple[str, bytes], ...]


class Tails:
    """Knows what to carry on, and looks again every second: ingress may have a new leader meanwhile."""

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._looked_at: float | None = None
        self._newest: dict[int, dict[str, bytes]] = {}
        self._looking = asyncio.Lock()

    async def of(self, partition: int) -> Headers:
        """Return the headers that a record behind the end of a partition carries on.

        Raises:
            Outage: Kafka does not answer.
        """
        async with self._looking:  # several partitions share a look
            now = self._monotonic()
            if self._looked_at is None or now - self._looked_at > FRESH_S:
                await self._look()
                self._looked_at = self._monotonic()
        found = self._newest.get(partition, {})
        return tuple((name, found[name]) for name in CARRIED if name in found)

    async def _look(self) -> None:
        async with opened(self._settings, ["raw"], Range(newest=NEWEST)) as topics:
            async for record in topics.scan():
                known = self._newest.get(record.partition, {})
                if SESSION in record.headers and read_term(record.headers) >= read_term(known):
                    self._newest[record.partition] = record.headers
