"""Gathers messages into chunks, and puts their acknowledgements back in order. Pure: it is told the time.

Between the MQTT connection and ``metrics.raw``: the carrier (``streams/mqtt/carrier.py``) adds what arrives
to a `Chunker`, writes what it cuts, and asks `InOrderAcks` which messages may then be acknowledged.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

from aiokafka.partitioner import murmur2

from streams.wire.raw import FRAMING_BYTES, SEPARATOR_BYTES, join

T = TypeVar("T")

TENANTS_REMEMBERED = 65_536
TOPICS_REMEMBERED = 16_384
"""Some 250 bytes each. With one that is not remembered each message costs 0.3 µs more."""
MESSAGES_PER_LINGER = 100
"""For so many messages that Kafka has not acknowledged, the linger grows by its own length."""


def linger_s(unwritten: int, least_s: float, most_s: float) -> float:
    """Tell how long the next messages may wait for others.

    While little comes, nothing is gained by waiting: each message is on its way after the least linger. The
    more messages are on their way to Kafka, the more come in a moment, or the slower Kafka is: then larger
    chunks save work in every stage behind.

    Args:
        unwritten: messages that are on their way to Kafka.
        least_s: with none on the way.
        most_s: however many are.
    """
    return min(least_s * (1 + unwritten / MESSAGES_PER_LINGER), max(least_s, most_s))


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

    def value(self) -> bytes:
        """Return the record's value."""
        return join(self.messages)


class Chunker(Generic[T]):
    """Keeps one open chunk for each partition, and cuts it when it is full; and all when their time is over.

    All that are open leave together, so that one request to Kafka takes them and one timer runs.

    Args:
        partitions: how many partitions ``metrics.raw`` has.
        max_messages: messages in a chunk at most.
        max_bytes: bytes of a chunk's value at most; a single message that is larger gets a chunk of its own.
        max_waiting: messages in all open chunks at which they leave before their time.
        new_ticket: gives what a chunk holds as its ticket, when its first message is added.
    """

    def __init__(
        self,
        *,
        partitions: int,
        max_messages: int,
        max_bytes: int,
        max_waiting: int,
        new_ticket: Callable[[], T],
    ) -> None:
        self._partitions = partitions
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._new_ticket = new_ticket
        self._open: dict[int, Chunk[T]] = {}
        self._full: list[Chunk[T]] = []
        self._due_at: float | None = None
        # Asked for with every message: 0.1 µs by topic, 0.4 by tenant, and murmur2 in Python takes 10.
        self._partition_for = lru_cache(TOPICS_REMEMBERED)(self._of_the_tenant)
        self._partition_of = lru_cache(TENANTS_REMEMBERED)(self._hashed)

    def add(self, topic: str, encoded: bytes) -> Chunk[T]:
        """Add a message to the chunk of its tenant's partition, and return that.

        Args:
            topic: as published; its second level is the tenant.
            encoded: as `streams.wire.raw.encode_message` gives it.
        """
        partition = self._partition_for(topic)
        size_bytes = len(encoded) + SEPARATOR_BYTES
        chunk = self._open.get(partition)
        if chunk is None or chunk.size_bytes + size_bytes > self._max_bytes:
            chunk = self._begin(partition)
        chunk.size_bytes += size_bytes
        chunk.messages.append(encoded)
        if len(chunk.messages) >= self._max_messages or chunk.size_bytes >= self._max_bytes:
            self._cut(chunk)
        return chunk

    def due(self, now: float, linger_s: float) -> list[Chunk[T]]:
        """Take the chunks that are full, and all others if the oldest message has waited long enough.

        Args:
            now: a time in seconds that never goes back.
            linger_s: how long messages may wait from now on; what the oldest was told holds for all.
        """
        if self._open and self._due_at is None:
            self._due_at = now + linger_s
        if self._due_at is not None and (now >= self._due_at or self._waiting() >= self._max_waiting):
            return self.rest()
        due, self._full = self._full, []
        return due

    def rest(self) -> list[Chunk[T]]:
        """Take all chunks, however young."""
        rest = [*self._full, *self._open.values()]
        self._full, self._open, self._due_at = [], {}, None
        return rest

    def next_due(self) -> float | None:
        """Tell when `due` will next return a chunk that is open now; None if none is."""
        return self._due_at if self._open else None

    def _waiting(self) -> int:
        return sum(len(chunk.messages) for chunk in self._open.values())

    def _begin(self, partition: int) -> Chunk[T]:
        if partition in self._open:
            self._cut(self._open[partition])
        chunk = self._open[partition] = Chunk(partition, self._new_ticket())
        return chunk

    def _cut(self, chunk: Chunk[T]) -> None:
        del self._open[chunk.partition]
        self._full.append(chunk)

    def _of_the_tenant(self, topic: str) -> int:
        return self._partition_of(tenant_level(topic))

    def _hashed(self, tenant: str) -> int:
        return partition_of(tenant, self._partitions)


def tenant_level(topic: str) -> str:
    """Return the level of the topic that names the tenant, in lower case; empty where there is none."""
    levels = topic.split("/", 2)
    return levels[1].lower() if len(levels) > 1 else ""


def partition_of(tenant: str, partitions: int) -> int:
    """Choose a partition as Kafka's default partitioner does for a key (`Utils.murmur2` of its clients)."""
    key = tenant.encode("utf-8", "surrogatepass")
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class InOrderAcks(Generic[T]):
    """Releases tokens in the order in which they came, each only when all before it are durable.

    MQTT (4.6 of both 3.1.1 and 5) asks for acknowledgements in the order of the messages, but chunks of
    different partitions become durable in any order. There is one ticket for a chunk, not one for a message:
    it knows how many tokens had come before the chunk began. Of the chunks that are not durable, the one that
    began first holds the oldest token that is not; so the tokens before its beginning are free.
    """

    def __init__(self) -> None:
        self._tokens: list[T] = []
        self._released = 0
        self._tickets: deque[Ticket] = deque()

    def __len__(self) -> int:
        return len(self._tokens)

    def begin(self) -> "Ticket":
        """Begin a chunk: tokens that come from now on wait until it is durable, too."""
        ticket = Ticket(self._released + len(self._tokens))
        self._tickets.append(ticket)
        return ticket

    def received(self, token: T) -> None:
        """Take a message's place in the order; the chunk that it is in has begun before."""
        self._tokens.append(token)

    def durable(self, ticket: "Ticket") -> list[T]:
        """Note that a chunk is durable; return the tokens that this sets free, in order."""
        ticket.durable = True
        while self._tickets and self._tickets[0].durable:
            self._tickets.popleft()
        return self.free()

    def free(self) -> list[T]:
        """Return the tokens that wait for no chunk, in order: each is returned once."""
        tokens = self._tokens
        count = self._tickets[0].before - self._released if self._tickets else len(tokens)
        self._released += count
        free = tokens[:count]
        del tokens[:count]
        return free


@dataclass(slots=True, eq=False)
class Ticket:
    """A chunk's place among those whose messages are to be acknowledged."""

    before: int
    """How many tokens had come when it began, since the first of all."""
    durable: bool = False
