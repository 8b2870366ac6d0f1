"""What `tail` shows on a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from streams.browse.lines import shown
from streams.browse.messages import Browsed, TopicKind, TopicRecord, messages_of
from streams.models import Origin, Reading, Reason, RejectedMessage, Stage
from streams.wire import raw, rejected, unique

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
AT_MS = 1_795_442_400_123


def first(kind: TopicKind, value: bytes) -> Browsed:
    return next(messages_of(TopicRecord(kind, 3, 1841, AT_MS, value, {})))


def test_a_raw_message_is_a_line_with_time_place_series_and_payload() -> None:
    value = raw.join([raw.encode_message(f"metrics/{TENANT}/edge-7/cpu", b'{"value": 1}', "", 1)])
    line, why, payload = shown(first(TopicKind.RAW, value))
    assert line.plain.split() == ["14:00:00.123", "3-1841-0", "7c9e6679", "edge-7", "cpu", '{"value":', "1}"]
    assert (why, payload) == (None, None)


def test_a_reading_shows_its_value_and_its_own_time() -> None:
    reading = Reading(
        index=4,
        tenant_id=TENANT,
        agent_id="edge-7",
        metric_name="cpu",
        value=42.17,
        timestamp="2026-11-23 13:00:00.000000",
        dedupe_id="d-1",
        key="k",
    )
    line, *_ = shown(first(TopicKind.UNIQUE, unique.encode(Origin(3, 1841), [reading])))
    assert line.plain.endswith("7c9e6679 edge-7 cpu 42.17 at 2026-11-23 13:00:00.000000 id d-1")
    assert "3-1841-4" in line.plain


def test_a_rejected_message_shows_reason_and_detail_whole_and_the_payload_below() -> None:
    message = RejectedMessage(
        index=4, topic="metrics/x", payload="\x1b[2J\nboo", received_at="", detail="why " * 40
    )
    value = rejected.encode(Origin(3, 1841), Stage.PARSE, Reason.TOPIC_MALFORMED, [message])
    line, why, payload = shown(first(TopicKind.REJECTED, value))
    assert line.plain.endswith("metrics/x")
    assert why is not None
    assert why.plain == "topic_malformed: " + "why " * 40
    assert payload is not None
    assert payload.plain == r"\x1b[2J\nboo"


@given(st.binary(max_size=200))
def test_what_is_no_record_of_ours_is_shown_without_moving_the_cursor(value: bytes) -> None:
    line, *_ = shown(first(TopicKind.RAW, value))
    assert "\x7f" not in line.plain
    assert not any(ord(letter) < 32 for letter in line.plain)
