"""Messages beyond a quota that are held back: found on metrics.rejected, and put back onto metrics.raw."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Protocol

from streams.browse.filters import Filter
from streams.browse.reader import Range, opened
from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.models import Reason
from streams.rejections.listing import Rejected, Selection, rejections
from streams.rejections.marks import MarkWriter, marking, read_marks
from streams.rejections.replay import ReturnedMessages, is_whole
from streams.settings import Settings
from streams.wire.mark import Fate


class Returning(Protocol):
    """Puts messages back."""

    async def put_back(self, batch: Sequence[Rejected]) -> None:
        """Put messages back in their order, and mark them.

        Raises:
            Outage: Kafka does not answer, or does not take a record. Some may have been put back.
        """
        ...


class HeldMessages(Protocol):
    """The messages that are held back. Every method raises `Outage` when Kafka does not answer."""

    async def ends(self) -> Mapping[int, int]:
        """Return by partition where metrics.rejected ends now."""
        ...

    def found(
        self, since_ms: int, starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> AsyncGenerator[Rejected, None]:
        """Yield those that nobody has put back yet, of each partition in their order.

        Args:
            since_ms: rejected at that Unix time in milliseconds at the earliest.
            starts: by partition, what lies before is not looked at.
            ends: by partition, what lies behind is not looked at.
        """
        ...

    def returning(self) -> AbstractAsyncContextManager[Returning]:
        """Connect to where they are put back."""
        ...


class KafkaHeldMessages:
    """The real ones.

    Args:
        settings: name the topics.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def ends(self) -> Mapping[int, int]:
        """Return by partition where metrics.rejected ends now."""
        async with opened(self._settings, ["rejected"], Range(newest=0)) as topics:
            return {tp.partition: held.end for tp, held in topics.ranges.items()}

    async def found(
        self, since_ms: int, starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> AsyncGenerator[Rejected, None]:
        """Yield those that nobody has put back yet, of each partition in their order."""
        only = [partition for partition, end in ends.items() if starts.get(partition, 0) < end]
        if not only:
            return
        span = Range(since_ms=since_ms, only=only, starts=starts, ends=ends)
        wanted = Selection(Filter(reasons=[Reason.QUOTA_EXCEEDED]), span)
        marks = await read_marks(self._settings, since_ms=since_ms)
        async with aclosing(rejections(self._settings, wanted, marks=marks)) as messages:
            async for rejected in messages:
                if is_whole(rejected):
                    yield rejected

    @asynccontextmanager
    async def returning(self) -> AsyncIterator[Returning]:
        """Connect to where they are put back."""
        writer = KafkaChunkWriter(self._settings)
        await writer.open()
        try:
            async with marking(self._settings) as marker:
                yield _Marked(ReturnedMessages(self._settings, writer), marker)
        finally:
            await writer.close()


class _Marked:
    """Puts messages back, and marks them once Kafka has them."""

    def __init__(self, returned: ReturnedMessages, marker: MarkWriter) -> None:
        self._returned = returned
        self._marker = marker

    async def put_back(self, batch: Sequence[Rejected]) -> None:
        await self._returned.write(batch)
        await self._marker.write(Fate.REPLAYED, [each.message for each in batch])
