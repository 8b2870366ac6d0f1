"""Chunks that are to be written, so that a partition that is slow holds up no other. Pure.

Between the chunker and the writer, in `streams.ingress.flow`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from streams.ingress.chunk_writer import MAX_BATCH_BYTES
from streams.ingress.chunking import Chunk
from streams.ingress.pubacks import Ticket

UNDER_WAY_BYTES = 2 * MAX_BATCH_BYTES
"""So much of one partition is on its way to Kafka at most, or one chunk that is larger: a batch that is sent,
and one that is gathered meanwhile."""
WAITING_BYTES = 8 * 1024 * 1024
"""With so much that waits, nothing more is taken from the broker. What waits here is sorted by partition, so
that others overtake it; what waits before, in the inbox, TCP and the broker, is one queue for all."""


class UnderWay(NamedTuple):
    """A chunk that Kafka was asked to take; its messages are the writer's by then."""

    partition: int
    ticket: Ticket
    messages: int
    size_bytes: int


class WriteQueue:
    """Hands out chunks, those of a partition in order, and of each only what the writer has room for.

    Args:
        has_room: whether the writer takes so many bytes for a partition without waiting.
        under_way_bytes: of one partition at most; a larger chunk goes alone.
        waiting_bytes: with so many it is full.
    """

    def __init__(
        self,
        has_room: Callable[[int, int], bool],
        under_way_bytes: int = UNDER_WAY_BYTES,
        waiting_bytes: int = WAITING_BYTES,
    ) -> None:
        self._has_room = has_room
        self._under_way_most = under_way_bytes
        self._waiting_most = waiting_bytes
        self._waiting: dict[int, deque[Chunk[Ticket]]] = {}
        """By partition; the one that was served last stands last."""
        self._under_way: dict[int, int] = {}
        """Bytes, by partition."""
        self._waiting_bytes = 0
        self.messages_under_way = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether no more should be added before something has left."""
        return self._waiting_bytes >= self._waiting_most

    def add(self, chunks: Iterable[Chunk[Ticket]]) -> None:
        """Put chunks behind those of their partitions."""
        for chunk in chunks:
            self._waiting.setdefault(chunk.partition, deque()).append(chunk)
            self._waiting_bytes += chunk.size_bytes

    def next(self) -> Chunk[Ticket] | None:
        """Return the chunk that is to be written next; None if none waits, or none may leave now."""
        # In the order of the dict, in which `left` puts the partition that was served behind all others.
        for partition, chunks in self._waiting.items():
            under_way, more = self._under_way.get(partition, 0), chunks[0].record_bytes
            # With nothing under way any size may leave: a chunk that is larger than the bound would else wait
            # for ever.
            if not under_way or (
                under_way + more <= self._under_way_most and self._has_room(partition, more)
            ):
                return chunks[0]
        return None

    def left(self, chunk: Chunk[Ticket]) -> UnderWay:
        """Note that the chunk that `next` has returned is under way."""
        partition, size_bytes = chunk.partition, chunk.size_bytes
        chunks = self._waiting.pop(partition)
        chunks.popleft()
        if chunks:
            self._waiting[partition] = chunks  # behind the others, which have their turn now
        self._waiting_bytes -= size_bytes
        self._under_way[partition] = self._under_way.get(partition, 0) + size_bytes
        self.messages_under_way += len(chunk.messages)
        return UnderWay(partition, chunk.ticket, len(chunk.messages), size_bytes)

    def settled(self, chunk: UnderWay) -> bool:
        """Note that Kafka has taken or refused a chunk; return whether others may have waited for that."""
        self._under_way[chunk.partition] -= chunk.size_bytes
        self.messages_under_way -= chunk.messages
        # Whoever waits for messages is woken for that alone: with every answer of Kafka it would cost a turn
        # each.
        return bool(self._waiting)

    def clear(self) -> Iterator[Chunk[Ticket]]:
        """Give up all that waits, and yield it."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        for chunks in waiting.values():
            yield from chunks
