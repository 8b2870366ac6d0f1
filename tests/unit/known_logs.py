"""metrics.raw and metrics.unique of one partition as lists, which a test may cut, set back or make anew."""

from collections.abc import Sequence

from faust.types import TP

from streams.kafka.histories import Histories
from streams.kafka.log_reader import FakeLogReader, LogRecord
from streams.kafka.positions import LogRange
from streams.models import Origin
from streams.wire import unique
from streams.wire.decision import digest
from streams.wire.headers import headers

RAW, UNIQUE = "site.raw", "site.unique"
PARTITION = 3
GROUP = "metric-streams"


class Logs:
    """Both logs, and who reads them."""

    def __init__(self) -> None:
        self.raw: list[LogRecord] = []
        self.unique: list[LogRecord] = []
        self.reader = FakeLogReader(self._records)
        self.histories = Histories(self.reader, raw_topic=RAW, unique_topic=UNIQUE)
        self._seqs: dict[str, int] = {}

    def write_raw(self, *values: bytes) -> None:
        """Append to metrics.raw."""
        for value in values:
            self.raw.append(LogRecord(len(self.raw), value, {}))

    def emit(
        self,
        *raw_offsets: int,
        epoch: int = 1,
        digests: bool = True,
        group: str = GROUP,
        writer: str = "aa",
        at_ms: int = 0,
    ) -> None:
        """Append to metrics.unique what refine makes of raw records."""
        for raw_offset in raw_offsets:
            seq = self._seqs[writer] = self._seqs.get(writer, -1) + 1
            found = dict(headers(1, epoch=str(epoch), group=group, writer=writer, seq=str(seq)))
            if digests:
                found |= {"digest": digest(self.raw[raw_offset].value).hex().encode()}
            value = unique.encode(Origin(PARTITION, raw_offset), [])
            self.unique.append(LogRecord(len(self.unique), value, found, at_ms))

    def carry(self, *values: bytes, epoch: int = 1, writer: str = "aa", at_ms: int = 0) -> None:
        """Append to metrics.raw, and to metrics.unique what refine makes of it."""
        for value in values:
            self.write_raw(value)
            self.emit(len(self.raw) - 1, epoch=epoch, writer=writer, at_ms=at_ms)

    def cut_raw(self, start: int) -> None:
        """Let retention remove what lies before an offset of metrics.raw."""
        self.reader.starts[TP(RAW, PARTITION)] = start

    def cut_unique(self, start: int) -> None:
        """Let retention remove what lies before an offset of metrics.unique."""
        self.reader.starts[TP(UNIQUE, PARTITION)] = start

    async def range(self, topic: str) -> LogRange:
        """Return the offsets that a log holds."""
        return await self.reader.range(TP(topic, PARTITION))

    def _records(self, tp: TP) -> Sequence[LogRecord]:
        assert tp.partition == PARTITION
        return {RAW: self.raw, UNIQUE: self.unique}[tp.topic]


def values(count: int, what: str = "a") -> list[bytes]:
    """Return so many values of raw records, each unlike any other."""
    return [b"%s %d" % (what.encode(), number) for number in range(count)]
