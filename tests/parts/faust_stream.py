"""A Faust stream for `streams.kafka.record_loop.process_in_order`: it ends after its last event."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any, Self


class FakeStream:
    """Yields events from a queue, in which the loop looks for those that wait as well."""

    def __init__(self, events: Iterable[Any]) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        for event in events:
            queue.put_nowait(event)
        self.channel = SimpleNamespace(queue=queue)

    def noack(self) -> Self:
        """Return itself: nothing is acknowledged here."""
        return self

    async def events(self) -> AsyncIterator[Any]:
        """Yield what is in the queue."""
        while self.channel.queue.qsize():
            yield self.channel.queue.get_nowait()
