"""The usual message, read in one go, is what the steps make of it; any other is left to them."""

import json
import math
from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.fast_path import _Payload, read_usual_message
from agents.parse import Parsed, parse
from agents.validate import validate
from streams.models import FURTHER, MEMBERS, Candidate, Message, Origin, Payload
from streams.rules.value import BOUND
from tests.parts.fields import usual_texts

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
TOPIC = f"metrics/{TENANT}/edge-7/cpu"
RECEIVED_AT = "2026-11-23T14:00:00.123456Z"
EXAMPLES, LEAST_SHARE = 500, 0.6
USUAL = {"value": 42.17, "timestamp": "2026-11-23T13:59:59.500Z", "dedupe_id": "d-1"}


def message(payload: str, topic: str = TOPIC, size_bytes: int | None = None) -> Message:
    return Message(topic, payload, None, RECEIVED_AT, 1, size_bytes)


topics = st.sampled_from(
    [
        TOPIC,
        TOPIC.upper(),
        TOPIC.replace(TENANT, TENANT.upper()),
        f"metrics/{TENANT}/é/\U0001f321",
        "metrics/a/b/c",
    ]
) | st.builds(lambda agent, metric: f"metrics/{TENANT}/{agent}/{metric}", st.text(max_size=65), st.text())
values = st.floats() | st.integers() | st.sampled_from([0, -0.0, BOUND, -BOUND, 10**12, "1", True, None])
timestamps = (
    st.datetimes().map(lambda time: f"{time.isoformat(timespec='microseconds')}Z")
    | st.sampled_from(
        [
            "2026-11-23T14:00:00.123456Z",
            "2026-11-23T14:00:00.123457Z",
            "2026-11-25T14:00:00.123Z",
            "2026-02-29T00:00:00.000Z",
            "2016-12-31T23:59:60.000Z",
            "2016-12-31T23:59:59.12३Z",
            "2026-11-23 13:00:00",
            "1970-01-01T00:00:00.999999Z",
            1_795_442_400,
            "",
        ]
    )
    | st.text(max_size=27)
)
dedupe_ids = st.text(max_size=129) | st.sampled_from(
    ["0", "00", "", "d" * 128, "d" * 129, "a\0b", "é", 7, None]
)
extras = st.dictionaries(
    st.sampled_from(["tenant_id", "agent_id", "metric_name", "remark", *FURTHER]),
    st.sampled_from([None, TENANT, "edge-7", 1, "", "°C", "\0"]),
)
payloads = st.builds(
    lambda members, extra, ascii_only: json.dumps(members | extra, ensure_ascii=ascii_only),
    st.fixed_dictionaries(
        {},
        optional={
            "value": st.just(42.17) | values,
            "timestamp": st.just(USUAL["timestamp"]) | timestamps,
            "dedupe_id": st.just("d-1") | dedupe_ids,
        },
    ),
    extras,
    st.booleans(),
)


usual_payloads = st.builds(
    lambda members, extra, ascii_only: json.dumps(members | extra, ensure_ascii=ascii_only),
    st.fixed_dictionaries(
        {
            "value": st.floats(-BOUND, BOUND) | st.integers(-int(BOUND), int(BOUND)),
            "timestamp": st.datetimes(datetime(2000, 1, 1), datetime(2026, 11, 23, 14)).map(  # noqa: DTZ001 - Z
                lambda time: f"{time.isoformat(timespec='microseconds')}Z"
            ),
            "dedupe_id": st.text(
                st.characters(min_codepoint=33, max_codepoint=126), min_size=2, max_size=128
            ),
        }
    ),
    st.dictionaries(
        st.sampled_from(["note", "remark", "tenant_id", "agent_id", "metric_name"]), st.none(), max_size=2
    )
    | st.dictionaries(st.sampled_from(["note", "remark"]), st.text(max_size=20) | st.integers() | extras)
    | st.fixed_dictionaries(usual_texts),
    st.booleans(),
)
usual_messages = st.builds(
    message, usual_payloads, st.sampled_from([TOPIC, TOPIC.replace(TENANT, TENANT.upper())])
)
any_messages = st.builds(message, payloads, topics, st.sampled_from([None, None, None, 70_000]))
messages = st.sampled_from([usual_messages] * 4 + [any_messages]).flatmap(lambda kind: kind)


def test_what_is_read_in_one_go_is_what_the_steps_make_of_it() -> None:
    """And most of what is tried here is read so: else this would hold nothing together."""
    ways: Counter[bool] = Counter()

    @settings(max_examples=EXAMPLES, derandomize=True)
    @given(messages)
    def check(found: Message) -> None:
        in_one_go = read_usual_message(found, 4)
        ways[in_one_go is not None] += 1
        parsed = parse(found)
        if in_one_go is not None:
            assert isinstance(parsed, Parsed)
            assert not parsed.disagrees
            assert validate(parsed, Origin(3, 1841), 4, RECEIVED_AT, 86_400.0) == in_one_go
            written_as_integer = isinstance(parsed.payload.value, int)
            assert isinstance(in_one_go.reading.value, int) is written_as_integer

    check()
    assert ways[True] >= LEAST_SHARE * ways.total()


def test_every_member_that_means_something_is_known_to_both_ways() -> None:
    """One that the quick way did not know would be dropped from nearly every message."""
    assert set(_Payload.__struct_fields__) == set(Payload.__struct_fields__) == set(MEMBERS)


@pytest.mark.parametrize("member", sorted(set(MEMBERS) - set(USUAL) - set(FURTHER)))
def test_a_member_that_is_seldom_sent_leaves_the_message_to_the_steps(member: str) -> None:
    assert read_usual_message(message(json.dumps(USUAL | {member: "edge-7"})), 0) is None


def test_a_time_before_the_earliest_is_left_to_the_steps() -> None:
    found = message(json.dumps(USUAL))
    assert read_usual_message(found, 0, "2026-11-23 13:59:59.500000") is not None
    assert read_usual_message(found, 0, "2026-11-23 13:59:59.500001") is None


@pytest.mark.parametrize(
    "usual",
    [
        USUAL,
        USUAL | {"value": 7},
        USUAL | {"value": 0.0, "remark": {"of": "it"}},
        USUAL | {"value": -BOUND, "timestamp": "2026-11-23T14:00:00.123456Z"},
        USUAL | {"value": -0.0, "dedupe_id": "00"},
        USUAL | {"dedupe_id": "d" * 128, "agent_id": None},
        USUAL | {"remark": "x" * 2_000},
        USUAL | {"remark": ["[{" * 100]},
    ],
)
def test_the_usual_message_is_read_in_one_go_as_the_steps_read_it(usual: dict[str, object]) -> None:
    found = message(json.dumps(usual), TOPIC.replace(TENANT, TENANT.upper()))
    in_one_go, parsed = read_usual_message(found, 4), parse(found)
    assert isinstance(in_one_go, Candidate)
    assert isinstance(parsed, Parsed)
    assert validate(parsed, Origin(3, 1841), 4, RECEIVED_AT, 86_400.0) == in_one_go
    assert math.copysign(1, in_one_go.reading.value) == (-1 if in_one_go.reading.value < 0 else 1)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "[" * 5_000,
        '{"value": 1e999, "timestamp": "2026-11-23T13:59:59.500Z", "dedupe_id": "d-1"}',
        '{"value": 1, "timestamp": "2026-11-23T13:59:59.500Z", "dedupe_id": "\ud800"}',
        *(json.dumps(USUAL | odd) for odd in ({"value": True}, {"dedupe_id": "0"}, {"tenant_id": TENANT})),
        *(json.dumps(USUAL | odd) for odd in ({"value": 10**12}, {"value": -BOUND - 1}, {"value": "1"})),
        *(json.dumps(USUAL | {"dedupe_id": odd}) for odd in ("", "d" * 129, "a\0b", "éé")),
        *(json.dumps(USUAL | {"timestamp": odd}) for odd in ("2026-11-23T14:00:00.124Z", "now", 12)),
        json.dumps(USUAL | {"remark": "x" * 4_096}),
        json.dumps(USUAL | {"remark": "[" * 1_100}),
    ],
)
def test_any_other_is_left_to_the_steps(payload: str) -> None:
    assert read_usual_message(message(payload), 0) is None


@pytest.mark.parametrize(
    "unusual",
    [
        message(json.dumps(USUAL), "metrics/acme/edge-7/cpu"),
        message(json.dumps(USUAL), f"metrics/{TENANT}/edge-7/{'m' * 65}"),
        message(json.dumps(USUAL), f"metrics/{TENANT}/edge-7"),
        message(json.dumps(USUAL), f"metrics/{TENANT}/edge-7/{'m' * 600}"),
        message(json.dumps(USUAL), size_bytes=70_000),
        Message(TOPIC, None, "e30=", RECEIVED_AT),
    ],
    ids=range(6),
)
def test_so_is_one_whose_topic_or_payload_is_not_as_it_should_be(unusual: Message) -> None:
    assert read_usual_message(unusual, 0) is None
