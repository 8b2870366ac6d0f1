"""``metrics.raw`` in memory, and a term without a group: for tests without a server."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from streams.errors import DeliveryFailed, Outage
from streams.ingress.chunk_writer import Headers, Written
from streams.ingress.terms import LeaderTerm
from streams.kafka.writer_names import new_writer
from streams.wire.headers import SEQ, TERM, WRITER


class FakeRawRecord(NamedTuple):
    """One record of the log."""

    partition: int
    offset: int
    value: bytes
    headers: dict[str, bytes]
    timestamp_s: float = 0.0
    """Unix time at which it was written."""


class FakeChunkWriter:
    """Keeps records in a list.

    Attributes:
        log: what was written, in order; several writers may share one.
        away: no record is acknowledged, as while Kafka is down; `come_back` ends it.
        refusal: an outage to raise from `open`.
        on_write: called with each record as it is appended, to feed it to what reads the topic.
    """

    def __init__(
        self,
        on_write: Callable[[FakeRawRecord], None] | None = None,
        log: list[FakeRawRecord] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.log: list[FakeRawRecord] = [] if log is None else log
        self.away = False
        self.refusal: Outage | None = None
        self.on_write = on_write
        self._clock = clock
        self.is_open = False
        self._held: list[tuple[Written, int, bytes, Headers]] = []
        self._failures = 0
        self._name = b""
        self._sequences: Counter[int] = Counter()

    async def open(self) -> None:
        """Be ready to write."""
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        if not self.is_open:
            self._name, self._sequences = new_writer().encode(), Counter()
        self.is_open = True

    async def write(self, partition: int, value: bytes, headers: Headers) -> Written:
        """Queue a record."""
        await asyncio.sleep(0)
        if not self.is_open:
            raise DeliveryFailed("metrics.raw", "the fake writer is not open")
        written: Written = asyncio.get_running_loop().create_future()
        numbered = [*headers, (WRITER, self._name), (SEQ, b"%d" % self._sequences[partition])]
        self._sequences[partition] += 1
        self._held.append((written, partition, value, numbered))
        if self._failures:
            self._failures -= 1
            self.fail_held()
        elif not self.away:
            self.come_back()
        return written

    def has_room(self, partition: int, size_bytes: int) -> bool:  # noqa: ARG002 - it has room for all
        """Have room."""
        return True

    async def close(self) -> None:
        """Disconnect: what is held fails."""
        await asyncio.sleep(0)
        self.fail_held()

    @property
    def held(self) -> int:
        """How many records wait for their acknowledgement."""
        return len(self._held)

    @property
    def held_partitions(self) -> list[int]:
        """The partitions of those records, in the order of their writing."""
        return [partition for _, partition, *_ in self._held]

    def fail_next(self, times: int = 1) -> None:
        """Refuse the next records."""
        self._failures = times

    def fail_held(self) -> None:
        """Refuse what is held; the writer is then to be opened again."""
        self.is_open = False
        held, self._held = self._held, []
        for written, *_ in held:
            written.set_exception(DeliveryFailed("metrics.raw", "the fake writer was told to"))

    def come_back(self) -> None:
        """Take what is held, and all that follows."""
        self.away = False
        held, self._held = self._held, []
        for one in held:
            self._take(*one)

    def release(self, index: int = 0) -> None:
        """Take one of the held records, by its place, while the others go on waiting."""
        self._take(*self._held.pop(index))

    def lose_answer(self, index: int = 0) -> None:
        """Take one of the held records, but fail it along with all others: Kafka's answer did not arrive."""
        _, partition, value, headers = self._held[index]
        self._append(partition, value, headers)
        self.fail_held()

    def values(self, partition: int | None = None) -> list[bytes]:
        """Return the records' values, of one partition or all."""
        return [record.value for record in self.log if partition in (None, record.partition)]

    def _take(self, written: Written, partition: int, value: bytes, headers: Headers) -> None:
        self._append(partition, value, headers)
        written.set_result(None)

    def _append(self, partition: int, value: bytes, headers: Headers) -> None:
        offset = len(self.values(partition))
        record = FakeRawRecord(partition, offset, value, dict(headers), self._clock())
        self.log.append(record)
        if self.on_write is not None:
            self.on_write(record)


class FakeTermSource:
    """Says that the one who asks leads, under a term that a test chooses.

    Attributes:
        term: of the next connection; 0 for none.
        had_session: whether the log shows a session.
        subscriptions: those that the log shows.
        others: client ids of other sessions that the log shows.
        refusal: an outage to raise; None lets lead.
    """

    def __init__(self, term: int = 1, *, had_session: bool = False) -> None:
        self.term = term
        self.had_session = had_session
        self.subscriptions: frozenset[str] = frozenset()
        self.others: frozenset[str] = frozenset()
        self.refusal: Outage | None = None

    async def take(self) -> LeaderTerm:
        """Answer as the test says."""
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        headers = ((TERM, b"%d" % self.term),) if self.term else ()
        return LeaderTerm(headers, self.had_session, self.subscriptions, self.others)
