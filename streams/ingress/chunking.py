"""Gathers messages into chunks. Pure: it is told the time.

Between the MQTT connection and ``metrics.raw``: ``streams/ingress/flow.py`` adds what arrives to a `Chunker`,
and writes what it cuts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from struct import unpack_from
from typing import Generic, TypeVar

from streams.wire.raw import FRAMING_BYTES, SEPARATOR_BYTES, join

T = TypeVar("T")

TENANTS_REMEMBERED = 65_536
TOPICS_REMEMBERED = 16_384
"""Some 250 bytes each. With one that is not remembered each message costs 0.3 µs more."""
LONGEST_REMEMBERED = 512
"""Characters of a topic. A sound one has at most 174; 16,384 of the longest that MQTT has would be 1 GB."""
TENANT_LENGTH = 128
"""Characters of a topic's second level that choose the partition. A tenant has 36; the hash of the longest
level that MQTT has would take 6 ms, for each message anew."""
MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Of all open chunks. They are 512 KiB each at most, so only where there are more than 8 partitions."""
INDEX_BYTES = 5
"""What a header takes for each message that it names, at most."""
MESSAGES_TO_DOUBLE = 100
"""With so many messages on their way to Kafka the linger is twice as long, with twice as many three times."""


EASY_LOAD, HIGHEST_LOAD = 0.5, 0.95
"""Up to the first a worker answers at once; beyond the second nothing tells how far it is behind."""


@dataclass(frozen=True)
class Linger:
    """How long messages wait for others.

    A chunk costs the stages behind much more than a message in it does, so the wait is for each chunk that
    would be cut: one message alone is soon on its way, and the chunks of a second are bounded. The more
    messages are on their way to Kafka, the more come in a moment, or the slower Kafka is: then larger chunks
    save work everywhere. So they do where the worker is busy: what waits there for the event loop waits the
    longer, as in any queue, by load / (1 - load).
    """

    each_s: float
    """For each open chunk, while nothing is on its way to Kafka."""
    most_s: float
    """At most."""

    def __call__(self, chunks: int, unwritten: int, load: float = 0.0) -> float:
        """Return the seconds that the messages of open chunks may wait.

        Args:
            chunks: how many are open.
            unwritten: messages that are on their way to Kafka.
            load: the share of a core that the worker uses.
        """
        load = min(max(load, EASY_LOAD), HIGHEST_LOAD)
        wait_s = self.each_s * chunks * (1 + unwritten / MESSAGES_TO_DOUBLE) * load / (1 - load)
        return min(wait_s, max(self.each_s, self.most_s))


@dataclass(slots=True, eq=False)
class Chunk(Generic[T]):
    """Messages of one partition, in the order received: one record of ``metrics.raw``."""

    partition: int
    ticket: T
    """Whatever whoever cuts wants to find again when the chunk is durable."""
    messages: list[bytes] = field(default_factory=list)
    """Each as `streams.wire.raw.encode_message` gives it."""
    size_bytes: int = FRAMING_BYTES - SEPARATOR_BYTES
    """The size of the record's value; each message counts with a separator, and the first has none."""
    qos0: int = 0
    """How many of the messages nobody would send again; the adder counts them."""
    over_quota: list[int] = field(default_factory=list)
    """Which of the messages, by index, are beyond what their tenant may send."""

    @property
    def record_bytes(self) -> int:
        """The size of the record, at most, but for the headers that every record has."""
        return self.size_bytes + INDEX_BYTES * len(self.over_quota)

    def value(self) -> bytes:
        """Return the record's value."""
        return join(self.messages)


class Chunker(Generic[T]):
    """Keeps one open chunk for each partition, and cuts it when it is full; and all when their time is over.

    All that are open leave together, so that one request to Kafka takes them and one timer runs.

    Args:
        partitions: how many partitions ``metrics.raw`` has.
        max_messages: messages in a chunk at most, beside those that are beyond a quota.
        max_bytes: bytes of a chunk's value at most; a single message that is larger gets a chunk of its own.
        max_waiting: messages in all open chunks at which they leave before their time.
        max_waiting_bytes: bytes of all open chunks at which they do.
        linger: how long the messages of open chunks may wait.
        new_ticket: gives what a chunk holds as its ticket, when its first message is added.
    """

    def __init__(
        self,
        *,
        partitions: int,
        max_messages: int,
        max_bytes: int,
        max_waiting: int,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        linger: Linger,
        new_ticket: Callable[[], T],
    ) -> None:
        self._partitions = partitions
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._linger = linger
        self._new_ticket = new_ticket
        self._open: dict[int, Chunk[T]] = {}
        self._full: list[Chunk[T]] = []
        self._opened_at: float | None = None
        self._due_at = 0.0
        # Asked for with every message: 0.05 µs by topic, 0.4 by tenant, and the hash takes 4.
        self._remembered: dict[str, int] = {}
        self._partition_of = lru_cache(TENANTS_REMEMBERED)(self._hashed)

    def end(self, topic: str) -> None:
        """Let the next message of a topic's tenant begin a chunk.

        Of a chunk's messages that were accepted nobody remembers more than the chunk. So one that is beyond a
        quota stands behind them only in a chunk of its own, and can be put back with its place.
        """
        chunk = self._open.get(self._partition_for(topic))
        if chunk is not None:
            self._cut(chunk)

    def add(self, topic: str, encoded: bytes, *, over_quota: bool = False) -> Chunk[T]:
        """Add a message to the chunk of its tenant's partition, and return that.

        Args:
            topic: as published; its second level is the tenant.
            encoded: as `streams.wire.raw.encode_message` gives it.
            over_quota: it is beyond what its tenant may send. Such messages do not count among those of a
                chunk, as nobody looks at them: a flood comes in few large chunks.
        """
        partition = self._remembered.get(topic)
        if partition is None:
            partition = self._partition_for(topic)
        size_bytes = len(encoded) + SEPARATOR_BYTES
        chunk = self._open.get(partition)
        if chunk is None or chunk.size_bytes + size_bytes > self._max_bytes:
            chunk = self._begin(partition)
        chunk.size_bytes += size_bytes
        if over_quota:
            chunk.over_quota.append(len(chunk.messages))
        chunk.messages.append(encoded)
        if (
            len(chunk.messages) - len(chunk.over_quota) >= self._max_messages
            or chunk.size_bytes >= self._max_bytes
        ):
            # At once, and not at the next look: the message that follows would make it too large.
            self._cut(chunk)
        return chunk

    def due(self, now: float, unwritten: int, load: float = 0.0) -> list[Chunk[T]]:
        """Take the chunks that are full, and all others if the oldest message has waited long enough.

        Args:
            now: a time in seconds that never goes back.
            unwritten: messages that are on their way to Kafka.
            load: the share of a core that the worker uses.
        """
        if self._open:
            # Counted from the first look and not from the first message: `add` is told no time.
            self._opened_at = now if self._opened_at is None else self._opened_at
            self._due_at = self._opened_at + self._linger(len(self._open), unwritten, load)
            if now >= self._due_at or self._is_crowded():
                return self.rest()
        due, self._full = self._full, []
        return due

    def rest(self) -> list[Chunk[T]]:
        """Take all chunks, however young."""
        rest = [*self._full, *self._open.values()]
        self._full, self._open, self._opened_at = [], {}, None
        return rest

    def next_due(self) -> float | None:
        """Tell when the chunks that were open when `due` was last asked will be due; None if none is open."""
        return self._due_at if self._open else None

    def _is_crowded(self) -> bool:
        messages = size_bytes = 0
        for chunk in self._open.values():
            messages += len(chunk.messages)
            size_bytes += chunk.size_bytes
        return messages >= self._max_waiting or size_bytes >= self._max_waiting_bytes

    def _begin(self, partition: int) -> Chunk[T]:
        if partition in self._open:
            self._cut(self._open[partition])
        chunk = self._open[partition] = Chunk(partition, self._new_ticket())
        return chunk

    def _cut(self, chunk: Chunk[T]) -> None:
        del self._open[chunk.partition]
        self._full.append(chunk)

    def _partition_for(self, topic: str) -> int:
        partition = self._partition_of(tenant_level(topic))
        if len(topic) <= LONGEST_REMEMBERED:
            if len(self._remembered) >= TOPICS_REMEMBERED:
                self._remembered.clear()  # which costs less than to know, with each message, the oldest
            self._remembered[topic] = partition
        return partition

    def _hashed(self, tenant: str) -> int:
        return partition_of(tenant, self._partitions)


def tenant_level(topic: str) -> str:
    """Return the level of the topic that names the tenant, in lower case; empty where there is none.

    Of one that is too long for a tenant only the beginning.
    """
    levels = topic.split("/", 2)
    return levels[1][:TENANT_LENGTH].lower() if len(levels) > 1 else ""


def partition_of(tenant: str, partitions: int) -> int:
    """Choose a partition as Kafka's default partitioner does for a key (`Utils.murmur2` of its clients)."""
    # Without the sign, as `Utils.toPositive` of Kafka's clients. A lone surrogate is in no tenant that is
    # valid, but its message has to go somewhere.
    return (_murmur2(tenant.encode("utf-8", "surrogatepass")) & 0x7FFFFFFF) % partitions


def _murmur2(key: bytes) -> int:
    """Return what `aiokafka.partitioner.murmur2` does, in less than half the time."""
    words = len(key) >> 2
    # The seed, and below it the multiplier and the shift, are those of Kafka's Utils.murmur2.
    hashed = 0x9747B28C ^ len(key)
    for word in unpack_from(f"<{words}I", key):
        mixed = word * 0x5BD1E995 & 0xFFFFFFFF
        hashed = (hashed * 0x5BD1E995 ^ (mixed ^ mixed >> 24) * 0x5BD1E995) & 0xFFFFFFFF
    if rest := key[words << 2 :]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return hashed ^ hashed >> 15
