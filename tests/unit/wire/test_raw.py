import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.models import FirstPlace, Message
from streams.wire.raw import (
    FRAMING_BYTES,
    KEPT_BYTES,
    MAX_BYTES,
    SEPARATOR_BYTES,
    decode,
    encode,
    encode_message,
    join,
    unix_s,
)
from tests.golden import golden

TOPIC = "metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu.usage.percent"
RECEIVED_AT = "2026-11-23T14:00:00.123456Z"


def round_trip(topic: str, payload: bytes, qos: int = 1) -> Message:
    [message] = decode(join([encode_message(topic, payload, RECEIVED_AT, qos)]))
    return message


def test_a_record_is_what_people_read_in_a_console() -> None:
    record = join(
        [
            encode_message(TOPIC, b'{"value": 42.17}', RECEIVED_AT, 1),
            encode_message(TOPIC, '{"value": 1, "unit": "°C"}'.encode(), RECEIVED_AT, 0),
            encode_message("metrics/a", b"\xff\xfe", RECEIVED_AT, 2),
            encode_message(TOPIC, b"x" * KEPT_BYTES * 100, RECEIVED_AT, 1),
        ]
    )
    assert record == golden("raw.json")


@given(st.lists(st.tuples(st.text(), st.binary() | st.text().map(str.encode), st.integers(0, 2))))
def test_messages_come_back_as_they_went(sent: list[tuple[str, bytes, int]]) -> None:
    encoded = [encode_message(topic, payload, RECEIVED_AT, qos) for topic, payload, qos in sent]
    record = join(encoded)
    found = [(message.topic, message.payload_bytes(), message.qos) for message in decode(record)]
    assert found == sent
    separators = SEPARATOR_BYTES * max(len(sent) - 1, 0)
    assert len(record) == FRAMING_BYTES + sum(map(len, encoded)) + separators


@given(st.binary())
def test_only_what_is_not_utf_8_becomes_base64(payload: bytes) -> None:
    message = round_trip(TOPIC, payload)
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        assert message.payload is None
        assert base64.b64decode(message.payload_base64 or "") == payload
    else:
        assert (message.payload, message.payload_base64) == (text, None)


def test_a_payload_of_64_kib_is_kept_and_a_larger_one_cut() -> None:
    assert round_trip(TOPIC, b"x" * MAX_BYTES).size_bytes is None
    message = round_trip(TOPIC, b"x" * (MAX_BYTES + 1))
    assert message.size_bytes == MAX_BYTES + 1
    assert message.payload == "x" * KEPT_BYTES


@pytest.mark.parametrize("character", ["é", "€", "\U0001f600"])
@pytest.mark.parametrize("shift", range(4))
def test_a_cut_within_a_character_leaves_text(character: str, shift: int) -> None:
    message = round_trip(TOPIC, ("x" * shift + character * MAX_BYTES).encode())
    assert message.payload is not None
    assert KEPT_BYTES - 4 < len(message.payload.encode()) <= KEPT_BYTES
    assert set(message.payload) <= {"x", character}


def test_a_cut_payload_that_is_not_utf_8_is_base64() -> None:
    message = round_trip(TOPIC, b"\xff" * (MAX_BYTES + 1))
    assert message.payload_bytes() == b"\xff" * KEPT_BYTES
    assert message.payload is None


def test_a_topic_that_was_not_utf_8_can_still_be_read() -> None:
    assert (
        round_trip(b"metrics/a/\xff/c".decode(errors="surrogateescape"), b"1").topic == "metrics/a/\ufffd/c"
    )


def test_a_message_that_is_put_back_is_written_as_it_is() -> None:
    message = Message(TOPIC, '{"value": 1}', None, RECEIVED_AT, 2, 70_000, FirstPlace(4, 3, 1841, 0))
    assert decode(join([encode(message)])) == [message]


def test_a_time_of_arrival_is_read_as_unix_time() -> None:
    assert unix_s(RECEIVED_AT) == 1_795_442_400.123456
    assert unix_s("") is unix_s("yesterday") is None


def test_an_encoded_message_fits_into_a_kafka_record_whatever_it_holds() -> None:
    worst = encode_message("\x01" * 65_535, b"\x01" * MAX_BYTES, RECEIVED_AT, 1)
    assert len(join([worst])) < 1_000_000


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"messages":[{"payload":"1"}]}',
        b'{"messages":[{"topic":1}]}',
        b'{"messages":[{"topic":"\xff"}]}',
        b'{"messages":' + b"[" * 5000,
    ],
    ids=range(8),
)
def test_anything_else_is_malformed(record: bytes) -> None:
    with pytest.raises(MalformedRecord, match="not a chunk of messages"):
        decode(record)
