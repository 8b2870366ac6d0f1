"""Accounts for every message that a simulated device sent, from the topics and the table. Pure.

Each message that was sent is exactly one of these:

- landed: its reading went on to metrics.unique, and the row of its identity stands in metrics_raw with the
  value that was accepted last. A reading whose row a later one of the same dedupe_id has written again has
  landed, too (it is also counted as superseded).
- rejected: it is in metrics.rejected.
- duplicate: it is in metrics.raw and in neither of the others, and it is an exact copy: the message of
  the same identity that was accepted last had the same value.
- missing: none of these. Not in metrics.raw, or dropped without being a duplicate, or without its row.

So sent = landed + rejected + duplicates + missing. Doubled is a message with two fates (in unique and in
rejected, or rejected for two reasons), and a reading with two rows. What others publish meanwhile is left out
of all this and counted as others.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from streams.demo.simulation import PlannedPublication, RowId
from streams.models import Message, Origin, Reason
from streams.wire.rejected import RejectedChunk
from streams.wire.unique import UniqueChunk


class LedgerPlace(NamedTuple):
    """A message's identity in the pipeline."""

    partition: int
    offset: int
    nth: int
    """Its index in the chunk."""


class RawChunk(NamedTuple):
    """One record of metrics.raw."""

    origin: Origin
    messages: Sequence[Message]


class LedgerRow(NamedTuple):
    """One row of metrics_raw."""

    tenant_id: str
    agent_id: str
    metric_name: str
    value: float
    timestamp: str
    """UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``."""
    dedupe_id: str | None


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages that were sent."""

    sent: int
    landed: int
    rejected: int
    duplicates: int
    missing: int
    doubled: int
    rows: int
    """Rows of metrics_raw that belong to messages sent."""
    superseded: int
    """Of those landed: their row was written again by a later reading of the same dedupe_id."""
    misjudged: int
    """Rejected though valid, accepted though malformed, or rejected for another reason than planned."""
    redelivered: int
    """More copies in metrics.raw than were sent: what MQTT brought twice and dedupe had to catch."""
    others: int
    """Messages in metrics.raw that are not the simulated devices'."""
    by_reason: dict[str, int]

    @property
    def adds_up(self) -> bool:
        """Whether every message has exactly one fate, and the right one."""
        accounted = self.landed + self.rejected + self.duplicates
        return self.sent == accounted and self.missing == self.doubled == self.misjudged == 0


def reconcile(
    sent: Sequence[PlannedPublication],
    rows: Iterable[LedgerRow],
    raw: Iterable[RawChunk],
    unique: Iterable[UniqueChunk],
    rejected: Iterable[RejectedChunk],
) -> Ledger:
    """Find each publication in the topics and in the table.

    Args:
        sent: in the order in which they were published, on one connection.
        rows: all of metrics_raw.
        raw: all of metrics.raw; each partition in its order.
        unique: all of metrics.unique; a record that was emitted twice counts once.
        rejected: all of metrics.rejected, likewise.
    """
    found = _find(sent, raw)
    fates = _Fates(unique, rejected)
    table = _Table(rows, sent)
    books = _Books(table)
    for place, publication in sorted(found.places.items()):
        books.enter(publication, fates.of(place))
    landed, orphaned = books.settle()
    rejected_total = books.by_reason.total()
    return Ledger(
        sent=len(sent),
        landed=landed,
        rejected=rejected_total,
        duplicates=books.duplicates,
        missing=len(sent) - len(found.places) + books.dropped + orphaned,
        doubled=table.doubled + books.two_fates,
        rows=table.count,
        superseded=books.superseded,
        misjudged=books.misjudged,
        redelivered=found.redelivered,
        others=found.others,
        by_reason={reason: books.by_reason[reason] for reason in Reason if books.by_reason[reason]},
    )


class _Found(NamedTuple):
    """Where in metrics.raw the publications are."""

    places: dict[LedgerPlace, PlannedPublication]
    redelivered: int
    others: int


def _find(sent: Iterable[PlannedPublication], raw: Iterable[RawChunk]) -> _Found:
    """Give each message of metrics.raw the publication it is; equal ones in the order of sending."""
    waiting: defaultdict[object, deque[PlannedPublication]] = defaultdict(deque)
    for publication in sent:
        waiting[_published(publication)].append(publication)
    found = _Found({}, 0, 0)
    for chunk in sorted(raw, key=lambda chunk: chunk.origin):
        for index, message in enumerate(chunk.messages):
            queue = waiting.get(_received(message))
            if queue:
                found.places[LedgerPlace(*_coordinate(chunk.origin), index)] = queue.popleft()
            elif queue is not None:
                found = found._replace(redelivered=found.redelivered + 1)
            else:
                found = found._replace(others=found.others + 1)
    return found


def _published(publication: PlannedPublication) -> tuple[str, object]:
    """Return what a publication is known by: a payload that is cut on its way, by its size."""
    too_large = publication.reason is Reason.PAYLOAD_TOO_LARGE
    return publication.topic, len(publication.payload) if too_large else publication.payload


def _received(message: Message) -> tuple[str, object]:
    cut = message.size_bytes is not None
    return message.topic, message.size_bytes if cut else message.payload_bytes()


def _coordinate(origin: Origin) -> tuple[int, int]:
    return origin.partition, origin.offset


class _Fates:
    """What the topics behind metrics.raw say of each message."""

    def __init__(self, unique: Iterable[UniqueChunk], rejected: Iterable[RejectedChunk]) -> None:
        self._fates: defaultdict[LedgerPlace, set[Reason | None]] = defaultdict(set)
        for accepted in unique:
            for reading in accepted.readings:
                self._fates[LedgerPlace(*_coordinate(accepted.origin), reading.index)].add(None)
        for refused in rejected:
            for message in refused.messages:
                self._fates[LedgerPlace(*_coordinate(refused.origin), message.index)].add(refused.reason)

    def of(self, place: LedgerPlace) -> set[Reason | None]:
        """Return why a message was rejected, None if it was accepted, nothing if it was dropped."""
        return self._fates.get(place, set())


class _Table:
    """metrics_raw, by the identities of the readings that were sent."""

    def __init__(self, rows: Iterable[LedgerRow], sent: Iterable[PlannedPublication]) -> None:
        ours = {publication.reading.row_id for publication in sent if publication.reading}
        self._values: defaultdict[RowId, list[float]] = defaultdict(list)
        for row in rows:
            for row_id in (
                RowId(row.tenant_id, row.dedupe_id or ""),
                RowId(row.tenant_id, "", row.agent_id, row.metric_name, row.timestamp),
            ):
                if row_id in ours:
                    self._values[row_id].append(row.value)

    @property
    def count(self) -> int:
        return sum(map(len, self._values.values()))

    @property
    def doubled(self) -> int:
        """Rows beyond the first of each reading."""
        return self.count - len(self._values)

    def holds(self, row_id: RowId, value: float) -> bool:
        return value in self._values.get(row_id, ())


class _Books:
    """Enters messages in the order of their partitions, one fate each."""

    def __init__(self, table: _Table) -> None:
        self.by_reason: Counter[Reason] = Counter()
        self.duplicates = self.dropped = self.superseded = self.misjudged = self.two_fates = 0
        self._table = table
        self._last: dict[RowId, float] = {}
        self._accepted: Counter[RowId] = Counter()
        self._accepted_malformed = 0

    def enter(self, publication: PlannedPublication, fates: set[Reason | None]) -> None:
        """Enter a message that is in metrics.raw."""
        self.two_fates += max(0, len(fates) - 1)
        if None in fates:
            self._accept(publication)
        elif fates:
            reason = min(reason for reason in fates if reason)
            self.by_reason[reason] += 1
            self.misjudged += reason is not publication.reason
        elif publication.reading and self._last.get(publication.reading.row_id) == publication.reading.value:
            self.duplicates += 1
        else:
            self.dropped += 1

    def _accept(self, publication: PlannedPublication) -> None:
        reading = publication.reading
        if reading is None:
            self.misjudged += 1
            self._accepted_malformed += 1
            return
        self.superseded += reading.row_id in self._last
        self._last[reading.row_id] = reading.value
        self._accepted[reading.row_id] += 1

    def settle(self) -> tuple[int, int]:
        """Hold what was accepted against the table; return how many messages landed, and how many did not."""
        landed = sum(
            accepted
            for row_id, accepted in self._accepted.items()
            if self._table.holds(row_id, self._last[row_id])
        )
        return landed, self._accepted.total() + self._accepted_malformed - landed
