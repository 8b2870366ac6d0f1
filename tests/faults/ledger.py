"""Compares what devices sent with what became of it. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from tests.faults.fleet import ACKED
from tests.faults.messages import (
    FLOOD_DEVICE,
    Kind,
    Known,
    correction_of,
    kind_of,
    known_rejection,
    known_row,
    value_of,
)

Row = tuple[str, datetime, str | None, float]
"""agent_id, timestamp, dedupe_id and value of ``metrics_raw``."""
Values = Mapping[Known, float]
"""The last value that was seen of each message that may be corrected."""
ValuesBefore = Mapping[Known, Collection[float]]
"""All that was the last value of such a message before Kafka or a topic lost something."""
EXAMPLES = 5
COUNT_MOST = 255
UNSEEN_MOST = 1_000
"""Values that may pass unseen each time that Redis dies: those of the jobs of a moment."""


@dataclass
class Ledger:
    """What a storm comes to; each number should be 0 from `missing` on."""

    sent: int = 0
    acked: int = 0
    ids: int = 0
    """Acknowledged messages, the copies left out."""
    landed: int = 0
    rejected: int = 0
    rejected_again: int = 0
    """On metrics.rejected more than once, as a replay may leave them."""
    missing: int = 0
    doubled_rows: int = 0
    wrongly_rejected: int = 0
    wrongly_landed: int = 0
    corrected: int = 0
    """Acknowledged messages whose correction was acknowledged as well."""
    wrong_last_pushes: int = 0
    """Of those, which were pushed last with another value than the correction's."""
    wrong_last_values: int = 0
    """Of those, whose row has another value: a job was run again behind those that came later."""
    brought_back: int = 0
    """Of those, which had the correction's value until Kafka lost the correction but not what it corrects.

    What is left on metrics.raw is decided on again, and may be pushed again; ``docs/guarantees.md`` says so.
    """
    unseen_pushes: int = 0
    """Of those, whose row is right though the tap did not see that value pushed: Redis died before it told.

    It has written the push to its disk by then, and is not asked for it again.
    """
    extra: int = 0
    """Rows that no device sent."""
    missing_ones: list[Known] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    @property
    def adds_up(self) -> bool:
        """Whether everything acknowledged landed or was rejected, once, and nothing else is there."""
        return not (
            self.missing
            + self.doubled_rows
            + self.wrongly_rejected
            + self.wrongly_landed
            + self.extra
            + self.wrong_last_pushes
            + self.wrong_last_values
        )

    def blame(self, what: str, example: object) -> None:
        """Keep a few examples of what does not add up."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {example}")


class Pushed(NamedTuple):
    """The values that were pushed last."""

    last: Values | None
    """None: not watched."""
    before: ValuesBefore
    gaps: int = 0
    """How often what was pushed in a moment may have passed unseen."""

    def is_brought_back(self, known: Known, right: float) -> bool:
        """Tell whether a message had the right value before, and has another one since."""
        is_wrong = self.last is not None and self.last.get(known) != right
        return is_wrong and right in self.before.get(known, ())


NOT_WATCHED = Pushed(None, MappingProxyType({}))


class Found:
    """What was found in a database or topic: how often each message of each device."""

    def __init__(self, sizes: Mapping[int, int]) -> None:
        self.counts = {device: bytearray(size) for device, size in sizes.items()}
        self.strangers: list[object] = []
        self.values: dict[Known, float] = {}

    def add(self, known: Known | None, thing: object) -> None:
        """Count one thing that was found."""
        counts = None if known is None else self.counts.get(known.device)
        if known is None or counts is None or known.number >= len(counts):
            self.strangers.append(thing)
        else:
            counts[known.number] = min(counts[known.number] + 1, COUNT_MOST)

    def add_row(self, row: Row) -> None:
        """Count a row, and keep the value of one that may have been corrected."""
        agent_id, timestamp, dedupe_id, value = row
        known = known_row(agent_id, timestamp, dedupe_id)
        self.add(known, row)
        if known is not None and correction_of(known.number) is not None:
            self.values[known] = value


def settle(
    states: Mapping[int, Sequence[int]],
    rows: Iterable[Row],
    rejected: Iterable[str],
    pushed: Pushed = NOT_WATCHED,
) -> Ledger:
    """Compare.

    Args:
        states: by device, for each of its messages `SENT` or `ACKED`; those of `FLOOD_DEVICE` are malformed.
        rows: of ``metrics_raw``.
        rejected: the payloads on ``metrics.rejected``, each with its topic.
        pushed: the value with which each message that may be corrected was pushed last.
    """
    sizes = {device: len(state) for device, state in states.items()}
    landed, refused = Found(sizes), Found(sizes)
    for row in rows:
        landed.add_row(row)
    for payload in rejected:
        refused.add(known_rejection(payload), payload)
    ledger = Ledger(extra=len(landed.strangers) + len(refused.strangers))
    for stranger in (landed.strangers + refused.strangers)[:EXAMPLES]:
        ledger.blame("nobody sent", stranger)
    for device, state in states.items():
        _settle_device(ledger, device, state, landed.counts[device], refused.counts[device])
        if device != FLOOD_DEVICE:
            _settle_corrections(ledger, device, state, landed.values, pushed)
    return ledger


def _settle_corrections(
    ledger: Ledger, device: int, state: Sequence[int], rows: Values, pushed: Pushed
) -> None:
    for number in range(len(state)):
        later = correction_of(number)
        if later is None or later >= len(state) or not state[number] == state[later] == ACKED:
            continue
        known, right = Known(device, number), value_of(later)
        ledger.corrected += 1
        if pushed.is_brought_back(known, right):
            ledger.brought_back += 1
            continue
        if rows.get(known, right) != right:
            ledger.wrong_last_values += 1
            ledger.blame("the row has an old value", known)
        if pushed.last is None or pushed.last.get(known) == right:
            continue
        if rows.get(known) == right and ledger.unseen_pushes < pushed.gaps * UNSEEN_MOST:
            ledger.unseen_pushes += 1
        else:
            ledger.wrong_last_pushes += 1
            ledger.blame("pushed last with an old value", known)


def _settle_device(
    ledger: Ledger, device: int, state: Sequence[int], landed: Sequence[int], refused: Sequence[int]
) -> None:
    for number, (sent, rows, rejections) in enumerate(zip(state, landed, refused, strict=True)):
        kind = Kind.MALFORMED if device == FLOOD_DEVICE else kind_of(number)
        acked = sent == ACKED
        ledger.sent += 1
        ledger.acked += acked
        if kind not in (Kind.COPY, Kind.CORRECTION):
            ledger.ids += acked
            ledger.missing += acked and not (rows or rejections)
            if acked and not (rows or rejections):
                ledger.missing_ones.append(Known(device, number))
                ledger.blame("missing", Known(device, number))
        ledger.landed += rows > 0
        ledger.rejected += rejections > 0
        ledger.rejected_again += max(0, rejections - 1)
        _check_kind(ledger, kind, Known(device, number), rows, rejections)


def _check_kind(ledger: Ledger, kind: Kind, known: Known, rows: int, rejections: int) -> None:
    if rows > 1:
        ledger.doubled_rows += rows - 1
        ledger.blame("more than one row", known)
    if rejections and kind is not Kind.MALFORMED:
        ledger.wrongly_rejected += 1
        ledger.blame("rejected without a fault", known)
    if rows and kind in (Kind.MALFORMED, Kind.COPY, Kind.CORRECTION):
        ledger.wrongly_landed += 1
        ledger.blame("landed though it should not", known)
