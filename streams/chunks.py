"""Gathers messages into chunks, and puts their acknowledgements back in order. Pure: it is told the time.

Between the MQTT connection and ``metrics.raw``: the carrier (``streams/mqtt/carrier.py``) adds what arrives
to a `Chunker`, writes what it cuts, and asks `InOrderAcks` which messages may then be acknowledged.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

from aiokafka.partitioner import murmur2

from streams.wire.raw import FRAMING_BYTES, SEPARATOR_BYTES, join

T = TypeVar("T")

TENANTS_REMEMBERED = 65_536


@dataclass(slots=True)
class Chunk(Generic[T]):
    """Messages of one partition, in the order received: one record of ``metrics.raw``."""

    partition: int
    opened_at: float
    messages: list[bytes] = field(default_factory=list)
    """Each as `streams.wire.raw.encode_message` gives it."""
    tokens: list[T] = field(default_factory=list)
    """One for each message: whatever the adder wants to find again when the chunk is durable."""
    size_bytes: int = FRAMING_BYTES
    """The size of the record's value."""

    def add(self, encoded: bytes, token: T) -> None:
        """Append a message."""
        self.size_bytes += len(encoded) + (SEPARATOR_BYTES if self.messages else 0)
        self.messages.append(encoded)
        self.tokens.append(token)

    def value(self) -> bytes:
        """Return the record's value."""
        return join(self.messages)


class Chunker(Generic[T]):
    """Keeps one open chunk for each partition, and cuts it when it is full or its oldest message is due.

    Args:
        partitions: how many partitions ``metrics.raw`` has.
        linger_s: how long a message may wait for others.
        max_messages: messages in a chunk at most.
        max_bytes: bytes of a chunk's value at most; a single message that is larger gets a chunk of its own.
    """

    def __init__(self, *, partitions: int, linger_s: float, max_messages: int, max_bytes: int) -> None:
        self._partitions = partitions
        self._linger_s = linger_s
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        # A chunk is put in when it is opened, and time does not go back: the first one is the oldest.
        self._open: dict[int, Chunk[T]] = {}
        self._full: list[Chunk[T]] = []
        # A tenant's partition is asked for with every message, and murmur2 in Python takes 10 µs.
        self._partition_of = lru_cache(TENANTS_REMEMBERED)(self._hashed)

    def add(self, topic: str, encoded: bytes, token: T, now: float) -> None:
        """Add a message to the chunk of its tenant's partition.

        Args:
            topic: as published; its second level is the tenant.
            encoded: as `streams.wire.raw.encode_message` gives it.
            token: kept beside the message.
            now: a time in seconds that never goes back.
        """
        partition = self._partition_of(tenant_level(topic))
        chunk = self._open.get(partition)
        if chunk is not None and chunk.size_bytes + SEPARATOR_BYTES + len(encoded) > self._max_bytes:
            self._cut(chunk)
            chunk = None
        if chunk is None:
            chunk = self._open[partition] = Chunk(partition, now)
        chunk.add(encoded, token)
        if len(chunk.messages) >= self._max_messages or chunk.size_bytes >= self._max_bytes:
            self._cut(chunk)

    def due(self, now: float) -> list[Chunk[T]]:
        """Take the chunks that are full, and those whose oldest message has waited long enough."""
        while (oldest := next(iter(self._open.values()), None)) and self._due_at(oldest) <= now:
            self._cut(oldest)
        due, self._full = self._full, []
        return due

    def rest(self) -> list[Chunk[T]]:
        """Take all chunks, however young."""
        rest = [*self._full, *self._open.values()]
        self._full, self._open = [], {}
        return rest

    def next_due(self) -> float | None:
        """Tell when `due` will next return a chunk that is open now; None if none is."""
        oldest = next(iter(self._open.values()), None)
        return None if oldest is None else self._due_at(oldest)

    def _due_at(self, chunk: Chunk[T]) -> float:
        return chunk.opened_at + self._linger_s

    def _cut(self, chunk: Chunk[T]) -> None:
        del self._open[chunk.partition]
        self._full.append(chunk)

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
    different partitions become durable in any order.
    """

    def __init__(self) -> None:
        self._waiting: deque[Ticket[T]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def received(self, token: T) -> "Ticket[T]":
        """Take a message's place in the order."""
        ticket = Ticket(token)
        self._waiting.append(ticket)
        return ticket

    def durable(self, tickets: Iterable["Ticket[T]"]) -> Sequence[T]:
        """Note that messages are durable; return the tokens that this sets free, in order."""
        for ticket in tickets:
            ticket.durable = True
        free = []
        while self._waiting and self._waiting[0].durable:
            free.append(self._waiting.popleft().token)
        return free


@dataclass(slots=True, eq=False)
class Ticket(Generic[T]):
    """A message's place among those to be acknowledged."""

    token: T
    durable: bool = False
