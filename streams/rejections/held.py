"""Messages beyond a quota that are held back: found on metrics.rejected, and put back onto metrics.raw."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from itertools import groupby
from typing import Protocol

from xxhash import xxh3_64_intdigest

from streams.browse.coordinate import Coordinate
from streams.browse.messages import Browsed, TopicRecord, messages_of
from streams.browse.reader import OpenTopics, Range, opened
from streams.errors import MalformedRecord
from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.ingress.chunking import tenant_level
from streams.models import Origin, Reason, RejectedMessage
from streams.rejections.backlog import HeldMessage, HeldRecord, NextMessages, Place
from streams.rejections.listing import Copies, Rejected
from streams.rejections.marks import TOPIC as MARKS
from streams.rejections.marks import MarkWriter, RecentMarks, identity_of, marking, since_marked
from streams.rejections.pace import Pace
from streams.rejections.replay import ReturnedMessages
from streams.settings import Settings
from streams.wire import mark as mark_wire
from streams.wire import rejected
from streams.wire.mark import Fate

USUAL_TOPIC = 512
"""Characters of a topic that count for nothing; a longer one can be as large as the largest payload."""


class LogChanged(Exception):  # noqa: N818 - it is no error: everything is looked at once more
    """metrics.rejected is not the log that was read: it was made anew, or set back."""


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

    async def broker_ms(self) -> int:
        """Return when the broker took the newest message, in milliseconds of Unix time; 0 for none."""
        ...

    def begin(self, since_ms: int) -> None:
        """Forget what was read, and begin with what was rejected at that Unix time in milliseconds."""
        ...

    def read(self) -> AsyncGenerator[HeldRecord, None]:
        """Yield what came since it was read last, without what somebody has put back or dismissed.

        Raises:
            LogChanged: what was read before is not there any more.
        """
        ...

    async def fetch(self, chosen: Sequence[NextMessages]) -> list[list[Rejected]]:
        """Return the messages of each that nobody has put back or dismissed meanwhile.

        Raises:
            LogChanged: one of the records is not the one that was read.
        """
        ...

    def forget(self, before_ms: int) -> None:
        """Forget what is known of messages that were rejected before that Unix time in milliseconds."""
        ...

    def returning(self) -> AbstractAsyncContextManager[Returning]:
        """Connect to where they are put back."""
        ...


class KafkaHeldMessages:
    """The real ones.

    Args:
        settings: name the topics.
        pace: rests with what takes long.
    """

    def __init__(self, settings: Settings, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self.begin(0)

    def begin(self, since_ms: int) -> None:
        """Forget what was read, and begin with what was rejected at that Unix time in milliseconds."""
        self._since_ms = since_ms
        self._next: dict[int, int] = {}
        """By partition of metrics.rejected: the offset to go on at."""
        self._before: dict[int, Place] = {}
        """By partition: the record that was read last."""
        self._copies = Copies()
        self._marks = RecentMarks()
        self._marks_next: dict[int, int] = {}

    async def broker_ms(self) -> int:
        """Return when the broker took the newest message, in milliseconds of Unix time; 0 for none."""
        newest_ms = 0
        async with opened(self._settings, ["raw", "rejected"], Range(newest=1)) as topics:
            async for record in topics.scan():
                newest_ms = max(newest_ms, record.written_ms)
        return newest_ms

    async def read(self) -> AsyncGenerator[HeldRecord, None]:
        """Yield what came since it was read last, without what somebody has put back or dismissed."""
        async with opened(self._settings, ["rejected"], Range(newest=0)) as topics:
            ends = {tp.partition: held.end for tp, held in topics.ranges.items()}
        if any(end < self._next.get(partition, 0) for partition, end in ends.items()):
            raise LogChanged
        new = [partition for partition, end in ends.items() if end > self._next.get(partition, 0)]
        if not new:
            return
        await self._read_marks()
        # From the last one on that was read: by it the log is known again.
        starts = {partition: place.offset for partition, place in self._before.items()}
        span = Range(since_ms=self._since_ms, only=new, starts=starts, ends=ends)
        async with opened(self._settings, ["rejected"], span) as topics, aclosing(topics.scan()) as records:
            async for record in records:
                with self._pace:
                    held = self._held(record)
                if held is not None:
                    yield held
                await self._pace.rest()
        self._next |= {partition: max(ends[partition], self._next.get(partition, 0)) for partition in new}

    def _held(self, record: TopicRecord) -> HeldRecord | None:
        """Return what a record has that is to be put back, and note that it was read."""
        place = Place(record.partition, record.offset, xxh3_64_intdigest(record.value))
        before = self._before.get(record.partition)
        if before is not None and before.offset == record.offset:
            if before != place:
                raise LogChanged
            return None
        self._before[record.partition] = place
        self._next[record.partition] = record.offset + 1
        messages = self._held_of(record)
        return HeldRecord(*place[:2], record.written_ms, place.digest, messages) if messages else None

    def _held_of(self, record: TopicRecord) -> list[HeldMessage]:
        # Not by `messages_of`: in a flood there are thousands a second, of which few are ever put back.
        try:
            chunk = rejected.decode(record.value)
        except MalformedRecord:
            return []
        if chunk.reason is not Reason.QUOTA_EXCEEDED or not chunk.messages:
            return []
        at, first = Coordinate(chunk.origin.partition, chunk.origin.offset), chunk.messages[0]
        if self._copies.knows(Browsed(record, at, first, chunk.reason, chunk.stage)):
            return []
        marked = self._marks.of_chunk(chunk.origin)
        browsed = _rejected_of(record) if marked else None
        return [
            HeldMessage(number, tenant_level(body.topic), _size_bytes(body))
            for number, body in enumerate(chunk.messages)
            if body.size_bytes is None and body.topic
            if browsed is None or identity_of(browsed[number].message) not in marked
        ]

    async def fetch(self, chosen: Sequence[NextMessages]) -> list[list[Rejected]]:
        """Return the messages of each that nobody has put back or dismissed meanwhile."""

        def place_of(at: int) -> Place:
            return chosen[at].place

        await self._read_marks()
        found: list[list[Rejected]] = [[] for _ in chosen]
        only = {each.place.partition for each in chosen}
        async with opened(self._settings, ["rejected"], Range(only=only)) as topics:
            # By record: many tenants may have messages in the same one.
            for place, group in groupby(sorted(range(len(chosen)), key=place_of), key=place_of):
                messages, marked = await self._at(topics, place)
                with self._pace:
                    for at in group:
                        wanted = [messages[number] for number in chosen[at].numbers]
                        found[at] = [one for one in wanted if identity_of(one.message) not in marked]
                await self._pace.rest()
        return found

    async def _at(self, topics: OpenTopics, place: Place) -> tuple[list[Rejected], Collection[int]]:
        """Return the messages of a record, and which of them are marked."""
        record = await topics.record_at("rejected", place.partition, place.offset)
        with self._pace:
            if record is None or xxh3_64_intdigest(record.value) != place.digest:
                raise LogChanged
            messages = _rejected_of(record)
            # Without the record's value, which would else be kept for as long as one of its messages.
            bare = record._replace(value=b"")
            messages = [Rejected(each.message._replace(record=bare), None) for each in messages]
        at = messages[0].message.coordinate
        return messages, self._marks.of_chunk(Origin(at.partition, at.offset))

    async def _read_marks(self) -> None:
        """Read the marks that came since it was done last."""
        span = Range(since_ms=since_marked(self._since_ms), starts=self._marks_next)
        async with opened(self._settings, [MARKS], span) as topics, aclosing(topics.scan()) as records:
            async for record in records:
                with self._pace, suppress(MalformedRecord):
                    _, digest = mark_wire.decode(record.value)
                    self._marks.add(record.key, digest, record.written_ms)
                self._marks_next[record.partition] = record.offset + 1
                await self._pace.rest()
            self._marks_next = {tp.partition: held.end for tp, held in topics.ranges.items()}

    def forget(self, before_ms: int) -> None:
        """Forget what is known of messages that were rejected before that Unix time in milliseconds."""
        self._marks.forget(since_marked(before_ms))

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


def _rejected_of(record: TopicRecord) -> list[Rejected]:
    return [Rejected(each, None) for each in messages_of(record) if isinstance(each.body, RejectedMessage)]


def _size_bytes(body: RejectedMessage) -> int:
    """Return what a message counts for: its payload, as in a quota, and what is too long of its topic."""
    return _payload_bytes(body) + max(0, len(body.topic) - USUAL_TOPIC)


def _payload_bytes(body: RejectedMessage) -> int:
    if (payload := body.payload) is not None:
        return len(payload) if payload.isascii() else len(payload.encode("utf-8", "surrogatepass"))
    # Four characters for three bytes; a quota need not know it to the byte.
    return len(body.payload_base64 or "") * 3 // 4


class _Marked:
    """Puts messages back, and marks them once Kafka has them."""

    def __init__(self, returned: ReturnedMessages, marker: MarkWriter) -> None:
        self._returned = returned
        self._marker = marker

    async def put_back(self, batch: Sequence[Rejected]) -> None:
        await self._returned.write(batch)
        await self._marker.write(Fate.REPLAYED, [each.message for each in batch])
