"""Which rejected messages were put back or dismissed: reads and writes metrics.rejected-marks."""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from xxhash import xxh3_64_intdigest

from streams.browse.messages import Browsed
from streams.browse.reader import opened
from streams.errors import MalformedRecord
from streams.kafka.standalone import PartitionWriter, writing
from streams.models import Message, Origin, RejectedMessage
from streams.settings import Settings
from streams.wire import mark as wire
from streams.wire.mark import Fate

TOPIC = "rejected-marks"
SLACK_MS = 3_600_000
"""By how much the clocks of two brokers may differ."""


class Marks:
    """The marks that hold now. Eight bytes for each, since there may be millions."""

    def __init__(self, pairs: Iterable[tuple[int, Fate]] = ()) -> None:
        unsorted = {mark: array("Q") for mark in Fate}
        for identity, mark in pairs:
            unsorted[mark].append(identity)
        self._sorted = {mark: array("Q", sorted(found)) for mark, found in unsorted.items()}

    def __len__(self) -> int:
        return sum(map(len, self._sorted.values()))

    def of(self, message: Browsed) -> Fate | None:
        """Return what has become of a rejected message; None if nothing has yet."""
        identity = identity_of(message)
        return next((mark for mark, found in self._sorted.items() if _holds(found, identity)), None)


def _holds(found: "array[int]", identity: int) -> bool:
    at = bisect_left(found, identity)
    return at < len(found) and found[at] == identity


def identity_of(message: Browsed) -> int:
    """Return 64 bits that stand for a message at its coordinate."""
    return _identity(key_of(message), _digest(message))


def key_of(message: Browsed) -> bytes:
    """Return the key of the message's mark: its coordinate."""
    return str(message.coordinate).encode()


def _digest(message: Browsed) -> int:
    body = message.body
    return wire.message_digest(body) if isinstance(body, Message | RejectedMessage) else 0


def _identity(key: bytes, digest: int) -> int:
    return xxh3_64_intdigest(key + digest.to_bytes(8))


async def read_marks(settings: Settings) -> Marks:
    """Read the marks that hold now.

    Args:
        settings: name the topic.

    Raises:
        MetricStreamsError: the topic does not exist.
        Outage: Kafka does not answer.
    """
    pairs: list[tuple[int, Fate]] = []
    async with opened(settings, [TOPIC]) as topics:
        async for record in topics.scan():
            with suppress(MalformedRecord):
                mark, digest = wire.decode(record.value)
                pairs.append((_identity(record.key, digest), mark))
    return Marks(pairs)


def since_marked(since_ms: int) -> int:
    """Return since when the marks were written of what was rejected at that time, in milliseconds, or later.

    A message is marked after it was rejected, if perhaps by another broker's clock.
    """
    return max(0, since_ms - SLACK_MS)


class RecentMarks:
    """Marks as they come, by chunk; those of messages that nobody asks for any more can be forgotten."""

    def __init__(self) -> None:
        self._by_chunk: OrderedDict[bytes, tuple[int, array[int]]] = OrderedDict()
        """When the newest of the chunk was written, and what they stand for; the oldest first."""

    def add(self, key: bytes, digest: int, written_ms: int) -> None:
        """Take in a mark.

        Args:
            key: of its record.
            digest: of the message that it is about.
            written_ms: when the broker took it, in milliseconds of Unix time.
        """
        chunk = key.rpartition(b"-")[0]
        _, found = self._by_chunk.pop(chunk, (0, array("Q")))
        found.append(_identity(key, digest))
        self._by_chunk[chunk] = written_ms, found

    def of_chunk(self, origin: Origin) -> Collection[int]:
        """Return what the marks of a chunk's messages stand for, as `identity_of` tells it."""
        _, found = self._by_chunk.get(b"%d-%d" % (origin.partition, origin.offset), (0, ()))
        return frozenset(found)

    def forget(self, before_ms: int) -> None:
        """Forget the marks that were written before that time."""
        while self._by_chunk and next(iter(self._by_chunk.values()))[0] < before_ms:
            self._by_chunk.popitem(last=False)


class MarkWriter:
    """Writes marks.

    Args:
        settings: name the topic.
        writer: writes to it.
    """

    def __init__(self, settings: Settings, writer: PartitionWriter) -> None:
        self._settings = settings
        self._writer = writer

    async def write(self, mark: Fate, messages: Iterable[Browsed]) -> None:
        """Mark messages, and wait until Kafka has it.

        Raises:
            DeliveryFailed: Kafka does not take it.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        rows = (
            (
                message.coordinate.partition % self._settings.topic_partitions,
                key_of(message),
                wire.encode(mark, _digest(message), at),
            )
            for message in messages
        )
        await self._writer.write(self._settings.marks_topic, rows)


@asynccontextmanager
async def marking(settings: Settings) -> AsyncIterator[MarkWriter]:
    """Yield what writes marks, connected.

    Raises:
        Outage: if Kafka does not answer.
    """
    async with writing(settings, "marks") as writer:
        yield MarkWriter(settings, writer)
