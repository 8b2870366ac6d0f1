"""The running counts for the display."""

from streams.embedded.ledger import RawChunk
from streams.embedded.tally import Tally
from streams.models import Message, Origin, Reading, Reason, RejectedMessage, Stage
from streams.wire.rejected import RejectedChunk
from streams.wire.unique import UniqueChunk


def raw(partition: int, offset: int, messages: int) -> RawChunk:
    return RawChunk(Origin(partition, offset), [Message("t", "1")] * messages)


def unique(partition: int, offset: int, readings: int) -> UniqueChunk:
    reading = Reading(0, "t", "a", "m", 1, "2026-11-23 14:00:00.000000", None, "k")
    return UniqueChunk(Origin(partition, offset), [reading] * readings)


def refused(partition: int, offset: int, messages: int) -> RejectedChunk:
    message = RejectedMessage(0, "t")
    return RejectedChunk(Origin(partition, offset), Stage.PARSE, Reason.VALUE_MISSING, [message] * messages)


def test_what_was_decided_and_went_nowhere_was_dropped() -> None:
    tally = Tally()
    tally.raw(raw(0, 0, 5))
    tally.unique(unique(0, 0, 2))
    tally.refused(refused(0, 0, 1))
    assert (tally.messages, tally.readings, tally.rejected.total(), tally.dropped) == (5, 2, 1, 2)


def test_what_is_not_decided_yet_was_not_dropped() -> None:
    tally = Tally()
    tally.raw(raw(0, 0, 5))
    tally.raw(raw(0, 1, 5))
    tally.raw(raw(1, 0, 5))
    tally.unique(unique(0, 0, 5))
    assert tally.dropped == 0


def test_a_later_decision_shows_that_a_whole_chunk_before_it_was_dropped() -> None:
    tally = Tally()
    tally.raw(raw(0, 0, 3))
    tally.raw(raw(0, 1, 2))
    tally.unique(unique(0, 1, 2))
    assert tally.dropped == 3


def test_an_earlier_decision_that_is_read_later_takes_nothing_back() -> None:
    tally = Tally()
    tally.raw(raw(0, 0, 3))
    tally.raw(raw(0, 1, 2))
    tally.unique(unique(0, 1, 2))
    tally.refused(refused(0, 0, 1))
    assert tally.dropped == 2
