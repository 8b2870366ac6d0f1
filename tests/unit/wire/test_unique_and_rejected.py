import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.models import Origin, Reading, Reason, RejectedMessage, Stage
from streams.wire import rejected, unique
from streams.wire.headers import headers
from tests.golden import golden
from tests.parts.fields import further_texts

ORIGIN = Origin(3, 1841)
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
RECEIVED_AT = "2026-11-23T14:00:00.123456Z"

origins = st.builds(Origin, st.integers(0, 2**31), st.integers(0, 2**63 - 1))
readings = st.builds(
    Reading,
    index=st.integers(0, 499),
    tenant_id=st.uuids().map(str),
    agent_id=st.text(),
    metric_name=st.text(),
    value=st.integers(-(10**12), 10**12) | st.floats(-1e12, 1e12),
    timestamp=st.text(),
    dedupe_id=st.none() | st.text(),
    key=st.text(),
    **further_texts,
)
rejected_messages = st.builds(
    RejectedMessage,
    index=st.integers(0, 499),
    topic=st.text(),
    payload=st.none() | st.text(),
    payload_base64=st.none() | st.text(),
    received_at=st.text(),
    qos=st.integers(0, 2),
    size_bytes=st.none() | st.integers(0),
    detail=st.text(),
)


def test_a_unique_record_is_what_people_read_in_a_console() -> None:
    record = unique.encode(
        ORIGIN,
        [
            Reading(
                index=0,
                tenant_id=TENANT,
                agent_id="edge-7",
                metric_name="cpu.usage.percent",
                value=42.17,
                timestamp="2026-11-23 14:00:00.123456",
                dedupe_id=None,
                key="0f" * 16,
            ),
            Reading(
                index=2,
                tenant_id=TENANT,
                agent_id="edge-7",
                metric_name="temp/°C",
                value=21,
                timestamp="2026-11-23 14:00:00.000000",
                dedupe_id="d-1",
                key="1e" * 16,
            ),
        ],
    )
    assert record == golden("unique.json")


def test_a_rejected_record_is_what_people_read_in_a_console() -> None:
    topic = f"metrics/{TENANT}/edge-7/cpu"
    record = rejected.encode(
        ORIGIN,
        Stage.VALIDATE,
        Reason.TENANT_UNKNOWN,
        [
            RejectedMessage(
                4, topic, '{"value": 1}', received_at=RECEIVED_AT, qos=1, detail=f"no tenant {TENANT}"
            ),
            RejectedMessage(7, topic, payload_base64="/w==", received_at=RECEIVED_AT, detail="another"),
        ],
    )
    assert record == golden("rejected.json")


@given(origins, st.lists(readings))
def test_readings_come_back_as_they_went(origin: Origin, sent: list[Reading]) -> None:
    chunk = unique.decode(unique.encode(origin, sent))
    assert chunk == unique.UniqueChunk(origin, sent)
    assert [type(reading.value) for reading in chunk.readings] == [type(reading.value) for reading in sent]


@given(origins, st.sampled_from(Stage), st.sampled_from(Reason), st.lists(rejected_messages))
def test_rejected_messages_come_back_as_they_went(
    origin: Origin, stage: Stage, reason: Reason, sent: list[RejectedMessage]
) -> None:
    chunk = rejected.decode(rejected.encode(origin, stage, reason, sent))
    assert chunk == rejected.RejectedChunk(origin, stage, reason, sent)


def test_the_raw_record_behind_a_unique_one_is_read_without_its_readings() -> None:
    assert unique.decode_origin(golden("unique.json")) == ORIGIN
    assert unique.decode_origin(b'{"origin":{"partition":3,"offset":1841},"readings":7}') == ORIGIN


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b"\xff", golden("raw.json")], ids=range(5))
def test_anything_else_is_malformed(record: bytes) -> None:
    with pytest.raises(MalformedRecord, match="not a chunk of readings"):
        unique.decode(record)
    with pytest.raises(MalformedRecord, match="not a chunk of readings"):
        unique.decode_origin(record)
    with pytest.raises(MalformedRecord, match="not a chunk of rejected messages"):
        rejected.decode(record)


def test_headers_are_plain_strings() -> None:
    assert headers(42) == [("format", b"1"), ("messages", b"42")]
    assert headers(2, reason=Reason.TENANT_UNKNOWN, stage=Stage.VALIDATE) == [
        ("format", b"1"),
        ("messages", b"2"),
        ("reason", b"tenant_unknown"),
        ("stage", b"validate"),
    ]
