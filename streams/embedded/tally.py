"""Counts what flows, as it is read from the topics; for the display, not for the ledger. Pure."""

from collections import Counter, defaultdict

from streams.embedded.ledger import RawChunk
from streams.models import Origin, Reason
from streams.wire.rejected import RejectedChunk
from streams.wire.unique import UniqueChunk


class Tally:
    """Running counts over the three topics.

    Attributes:
        messages: in metrics.raw.
        readings: in metrics.unique.
        rejected: by reason, in metrics.rejected.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.readings = 0
        self.rejected: Counter[Reason] = Counter()
        self._up_to: defaultdict[int, dict[int, int]] = defaultdict(lambda: {-1: 0})
        """By partition and offset: the messages of metrics.raw up to and with that record."""
        self._decided: Counter[int] = Counter()
        """By partition: the messages up to the last chunk that metrics.unique or metrics.rejected names."""

    def raw(self, chunk: RawChunk) -> None:
        """Count a record of metrics.raw; each partition's come in order."""
        self.messages += len(chunk.messages)
        up_to = self._up_to[chunk.origin.partition]
        up_to[chunk.origin.offset] = next(reversed(up_to.values())) + len(chunk.messages)

    def unique(self, chunk: UniqueChunk) -> None:
        """Count a record of metrics.unique."""
        self.readings += len(chunk.readings)
        self._decide(chunk.origin)

    def refused(self, chunk: RejectedChunk) -> None:
        """Count a record of metrics.rejected."""
        self.rejected[chunk.reason] += len(chunk.messages)
        self._decide(chunk.origin)

    @property
    def dropped(self) -> int:
        """Messages of decided chunks that went nowhere: duplicates, once both topics are read as far."""
        return max(0, self._decided.total() - self.readings - self.rejected.total())

    def _decide(self, origin: Origin) -> None:
        up_to = self._up_to[origin.partition].get(origin.offset, 0)
        self._decided[origin.partition] = max(self._decided[origin.partition], up_to)
