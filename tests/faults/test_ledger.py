"""The ledger of a storm must not add up when it should not."""

from datetime import timedelta

import pytest

from tests.faults.fleet import ACKED, SENT
from tests.faults.ledger import Pushed, Row, settle
from tests.faults.messages import (
    BASE,
    FLOOD_DEVICE,
    Kind,
    Known,
    corrected_by,
    correction_of,
    flood_payload,
    kind_of,
    message,
    value_of,
)

SIZE = 40


def row(number: int, device: int = 0) -> Row:
    at = (BASE + timedelta(milliseconds=number)).replace(tzinfo=None)
    with_id = kind_of(number) is Kind.WITH_ID
    name = f"{device}-{number}" if with_id else "0123456789abcdef" * 2
    return f"edge-{device}", at, name, value_of(correction_of(number) or number)


def rows() -> list[Row]:
    return [row(number) for number in range(SIZE) if kind_of(number) in (Kind.WITH_ID, Kind.TIMED)]


def rejected() -> list[str]:
    malformed = [number for number in range(SIZE) if kind_of(number) is Kind.MALFORMED]
    return [topic + payload.decode() for topic, payload in (message(0, n, ["t"]) for n in malformed)]


def acked() -> dict[int, bytearray]:
    return {0: bytearray([ACKED] * SIZE)}


def test_it_adds_up_when_every_message_is_where_it_belongs() -> None:
    ledger = settle(acked(), rows(), rejected())
    assert ledger.adds_up
    assert (ledger.acked, ledger.ids, ledger.landed, ledger.rejected) == (40, 32, 30, 2)


def test_a_copy_has_topic_and_payload_of_an_earlier_message_with_an_id() -> None:
    for number in range(SIZE):
        if kind_of(number) is Kind.COPY:
            originals = [message(0, n, ["t"]) for n in range(number) if kind_of(n) is Kind.WITH_ID]
            assert message(0, number, ["t"]) in originals


@pytest.mark.parametrize("lost", [0, 1, 15])
def test_it_misses_a_row(lost: int) -> None:
    ledger = settle(acked(), [one for one in rows() if one != row(lost)], rejected())
    assert (ledger.missing, ledger.adds_up) == (1, False)


def test_it_misses_a_rejected_message() -> None:
    assert settle(acked(), rows(), rejected()[1:]).missing == 1


def test_it_owes_nothing_for_what_was_never_acknowledged() -> None:
    states = acked()
    states[0][0] = SENT
    assert settle(states, rows()[1:], rejected()).adds_up
    assert settle(states, rows(), rejected()).adds_up


@pytest.mark.parametrize(
    "stranger",
    [
        row(15),
        ("edge-0", BASE, "0-18", 1.0),
        ("edge-0", BASE, "0-11", 1.0),
        ("edge-0", BASE, "0-4000", 1.0),
        ("else", BASE, None, 1.0),
        ("edge-0", BASE + timedelta(microseconds=1), None, 1.0),
    ],
)
def test_it_finds_rows_that_should_not_be_there(stranger: Row) -> None:
    ledger = settle(acked(), [*rows(), stranger], rejected())
    assert not ledger.adds_up
    assert ledger.examples


@pytest.mark.parametrize(
    "stranger",
    [
        '{"value":1,"dedupe_id":"0-1"}',
        '{"value":1,"dedupe_id":"bad-0-1"}',
        '{"value":1,"dedupe_id":"bad-7-1"}',
    ],
)
def test_it_finds_rejections_that_should_not_be_there(stranger: str) -> None:
    ledger = settle(acked(), rows(), [*rejected(), stranger])
    assert not ledger.adds_up
    assert ledger.examples


def test_a_message_that_a_replay_rejected_again_is_counted_and_forgiven() -> None:
    ledger = settle(acked(), rows(), rejected() * 2)
    assert (ledger.rejected_again, ledger.adds_up) == (2, True)


def test_a_flood_must_be_rejected_to_the_last_message() -> None:
    states = {FLOOD_DEVICE: bytearray([ACKED] * 3)}
    refused = [flood_payload(number).decode() for number in range(3)]
    assert settle(states, [], refused).adds_up
    assert settle(states, [], refused[:2]).missing == 1


def values(**wrong: float) -> dict[Known, float]:
    right = {
        number: value_of(later) for number in range(SIZE) if (later := correction_of(number)) is not None
    }
    return {Known(0, number): wrong.get(f"n{number}", value) for number, value in right.items()}


def test_the_last_value_of_an_id_must_be_its_correction() -> None:
    ledger = settle(acked(), rows(), rejected(), Pushed(values(), {}))
    assert (ledger.adds_up, ledger.corrected, ledger.wrong_last_pushes) == (True, 6, 0)
    ledger = settle(acked(), rows(), rejected(), Pushed(values(n1=value_of(1)), {}))
    assert (ledger.adds_up, ledger.wrong_last_pushes, ledger.wrong_last_values) == (False, 1, 0)


def test_a_value_that_was_right_until_kafka_lost_it_is_counted_apart() -> None:
    old = values(n1=value_of(1))
    before = {known: {value} for known, value in values().items()}
    ledger = settle(acked(), rows(), rejected(), Pushed(old, before))
    assert (ledger.adds_up, ledger.brought_back, ledger.wrong_last_pushes) == (True, 1, 0)
    before[Known(0, 1)] = {value_of(1)}
    ledger = settle(acked(), rows(), rejected(), Pushed(old, before))
    assert (ledger.adds_up, ledger.brought_back, ledger.wrong_last_pushes) == (False, 0, 1)


def test_an_old_value_in_the_row_is_counted() -> None:
    old = [(*row(1)[:3], value_of(1)) if one == row(1) else one for one in rows()]
    ledger = settle(acked(), old, rejected(), Pushed(values(), {}))
    assert (ledger.adds_up, ledger.wrong_last_values, ledger.wrong_last_pushes) == (False, 1, 0)


def test_a_correction_that_was_not_acknowledged_owes_no_value() -> None:
    states = acked()
    states[0][10] = SENT
    assert settle(states, rows(), rejected(), Pushed(values(n1=value_of(1)), {})).adds_up


def test_a_fifth_of_the_ids_and_more_are_corrected() -> None:
    size = 20_000
    kinds = [kind_of(number) for number in range(size)]
    ids = kinds.count(Kind.WITH_ID) + kinds.count(Kind.TIMED)
    corrected = {corrected_by(number) for number in range(size)} - {None}
    assert len(corrected) / ids >= 0.2
    assert all(kind_of(number) is Kind.WITH_ID for number in corrected if number is not None)


def test_what_redis_did_not_tell_before_it_died_is_told_by_its_row() -> None:
    old = values(n1=value_of(1))
    del old[Known(0, 2)]
    told = settle(acked(), rows(), rejected(), Pushed(old, {}, gaps=1))
    assert (told.wrong_last_pushes, told.unseen_pushes, told.adds_up) == (0, 2, True)
    assert settle(acked(), rows(), rejected(), Pushed(old, {})).wrong_last_pushes == 2

    wrong = [(agent, at, name, -1.0 if name == "0-1" else value) for agent, at, name, value in rows()]
    found = settle(acked(), wrong, rejected(), Pushed(old, {}, gaps=1))
    assert (found.wrong_last_pushes, found.unseen_pushes) == (1, 1)
