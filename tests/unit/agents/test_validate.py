import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.parse import Parsed, parse
from agents.validate import tenant_unknown, validate
from streams.errors import MalformedRecord
from streams.models import Candidate, Message, Origin, Payload, Reading, Reason, Rejection, Stage
from streams.rules.names import check_agent_id
from streams.rules.topic import Series, read_topic
from streams.wire import raw

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
OTHER_TENANT = "11111111-1111-4111-8111-111111111111"
RECEIVED_AT = "2026-11-23T14:00:00.123456Z"
LATER = "2026-11-23T14:00:07.000000Z"
DAY_S = 86_400.0

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)
payloads = st.fixed_dictionaries(
    {}, optional={"value": json_values, "timestamp": json_values, "dedupe_id": json_values, "x": json_values}
)
names = st.text(min_size=1, max_size=8).filter(lambda text: "/" not in text and not check_agent_id(text))


def parsed(**changes: object) -> Parsed:
    """Return a valid message, taken apart, with these changes."""
    fields = {"tenant_id": TENANT, "agent_id": "edge-7", "metric_name": "cpu", "value": 1} | changes
    series = read_topic("metrics/{tenant_id}/{agent_id}/{metric_name}".format_map(fields))
    assert isinstance(series, Series)
    return Parsed(series, Payload(fields["value"], fields.get("timestamp"), fields.get("dedupe_id")), False)  # noqa: FBT003 - it does not disagree


def outcome_of(
    message: Parsed,
    *,
    offset: int = 1841,
    index: int = 4,
    received_at: str = RECEIVED_AT,
    skew_s: float = DAY_S,
) -> Candidate | Rejection:
    return validate(message, Origin(3, offset), index, received_at, skew_s)


def candidate(
    message: Parsed, *, offset: int = 1841, index: int = 4, received_at: str = RECEIVED_AT
) -> Candidate:
    outcome = outcome_of(message, offset=offset, index=index, received_at=received_at)
    assert isinstance(outcome, Candidate), outcome
    return outcome


def test_a_valid_message_becomes_a_reading() -> None:
    found = candidate(
        parsed(tenant_id=TENANT.upper(), value="42.17", timestamp="2026-11-23T15:00:00+01:00", dedupe_id=0)
    )
    assert found.reading == Reading(
        index=4,
        tenant_id=TENANT,
        agent_id="edge-7",
        metric_name="cpu",
        value=42.17,
        timestamp="2026-11-23 14:00:00.000000",
        dedupe_id="id-0",
        key=found.reading.key,
    )


def test_the_arrival_stands_in_for_a_missing_timestamp() -> None:
    assert candidate(parsed()).reading.timestamp == "2026-11-23 14:00:00.123456"


FAULTS = [
    ({"value": None}, Reason.VALUE_MISSING),
    ({"value": "abc"}, Reason.VALUE_NOT_A_NUMBER),
    ({"value": 10**12}, Reason.VALUE_OUT_OF_RANGE),
    ({"timestamp": "yesterday"}, Reason.TIMESTAMP_INVALID),
    ({"timestamp": "2026-11-24T14:00:01Z"}, Reason.TIMESTAMP_OUT_OF_RANGE),
    ({"agent_id": "a" * 65}, Reason.AGENT_ID_INVALID),
    ({"metric_name": "m" * 65}, Reason.METRIC_NAME_INVALID),
    ({"dedupe_id": 1.5}, Reason.DEDUPE_ID_INVALID),
    ({"tenant_id": "acme"}, Reason.TENANT_NOT_A_UUID),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[reason for _, reason in FAULTS])
def test_each_fault_has_its_reason(fault: dict[str, object], reason: Reason) -> None:
    outcome = outcome_of(parsed(**fault))
    assert isinstance(outcome, Rejection)
    assert (outcome.stage, outcome.reason) == (Stage.VALIDATE, reason)


@given(st.sets(st.sampled_from(range(len(FAULTS))), min_size=1))
def test_of_several_faults_the_first_in_the_order_of_reasons_is_named(chosen: set[int]) -> None:
    # Later faults first, so that of two that change one field the earlier one stands.
    faults = [FAULTS[number] for number in sorted(chosen, reverse=True)]
    changes = {name: value for fault, _ in faults for name, value in fault.items()}
    outcome = outcome_of(parsed(**changes))
    assert isinstance(outcome, Rejection)
    assert outcome.reason is min((reason for _, reason in faults), key=list(Reason).index)


def test_the_skew_is_measured_from_the_arrival() -> None:
    early = parsed(timestamp="2026-11-23T14:01:00Z")
    assert isinstance(outcome_of(early, skew_s=60.0), Candidate)
    assert isinstance(outcome_of(early, skew_s=59.0), Rejection)
    assert isinstance(outcome_of(early, skew_s=59.0, received_at=LATER), Candidate)
    assert isinstance(outcome_of(parsed(timestamp="2038-01-01T00:00:00Z"), skew_s=math.inf), Candidate)


@pytest.mark.parametrize("timestamp", ["1970-01-01T00:00:12Z", 12, "1999-12-31T23:59:59.999Z"])
def test_a_device_without_a_clock_is_told_so(timestamp: object) -> None:
    sent, earliest = parsed(timestamp=timestamp), "2000-01-01 00:00:00.000000"
    found = validate(sent, Origin(3, 1841), 4, RECEIVED_AT, 86_400.0, earliest)
    assert isinstance(found, Rejection)
    assert found.reason is Reason.TIMESTAMP_OUT_OF_RANGE
    assert "MIN_TIMESTAMP (2000-01-01 00:00:00.000000 UTC)" in found.detail


def test_an_arrival_of_ours_that_cannot_be_read_is_no_fault_of_the_device() -> None:
    with pytest.raises(MalformedRecord, match="received_at cannot be read"):
        outcome_of(parsed(), received_at="")


def test_an_unknown_tenant_is_a_rejection_that_names_it() -> None:
    assert tenant_unknown(TENANT) == Rejection(Stage.VALIDATE, Reason.TENANT_UNKNOWN, f"no tenant {TENANT}")


def test_a_dedupe_id_alone_makes_the_key() -> None:
    first = candidate(parsed(dedupe_id="d-1"))
    changed = candidate(
        parsed(dedupe_id="d-1", agent_id="edge-8", metric_name="ram", value=2, timestamp=1_795_442_400),
        offset=9,
        index=0,
        received_at=LATER,
    )
    assert changed.reading.key == first.reading.key
    assert changed.id == first.id
    assert changed.content != first.content
    assert candidate(parsed(dedupe_id="d-2")).id != first.id
    assert candidate(parsed(dedupe_id="d-1", tenant_id=OTHER_TENANT)).id != first.id


def test_a_timestamp_and_the_rest_make_the_key_where_no_dedupe_id_does() -> None:
    first = candidate(parsed(timestamp=1_795_442_400))
    again = candidate(parsed(timestamp="2026-11-23 14:00:00"), offset=9, index=0, received_at=LATER)
    assert (again.reading.key, again.id, again.content) == (first.reading.key, first.id, first.content)
    for change in (
        {"value": 2},
        {"timestamp": 1_795_442_401},
        {"agent_id": "edge-8"},
        {"metric_name": "ram"},
        {"tenant_id": OTHER_TENANT},
    ):
        other = candidate(parsed(**{"timestamp": 1_795_442_400, **change}))
        assert other.id != first.id
        assert other.reading.key != first.reading.key


def test_the_coordinate_and_the_rest_make_the_key_where_the_device_named_no_row() -> None:
    first = candidate(parsed())
    assert first.id is None
    assert candidate(parsed()).reading.key == first.reading.key
    others = [
        candidate(parsed(), offset=1842),
        candidate(parsed(), index=5),
        candidate(parsed(), received_at=LATER),
        candidate(parsed(value=2)),
        candidate(parsed(agent_id="edge-8")),
        candidate(parsed(metric_name="ram")),
        candidate(parsed(tenant_id=OTHER_TENANT)),
    ]
    assert len({first.reading.key, *(other.reading.key for other in others)}) == 1 + len(others)


def test_a_derived_key_that_a_device_sends_as_its_dedupe_id_names_the_same_row() -> None:
    derived = candidate(parsed(timestamp=1_795_442_400))
    assert candidate(parsed(dedupe_id=derived.reading.key)).id == derived.id


def test_sending_the_same_again_without_a_timestamp_is_the_same_content() -> None:
    first = candidate(parsed(dedupe_id="d-1"))
    assert candidate(parsed(dedupe_id="d-1"), received_at=LATER).content == first.content
    stamped = candidate(parsed(dedupe_id="d-1", timestamp=first.reading.timestamp))
    assert stamped.content != first.content


@pytest.mark.parametrize("value", [1.0, "1", "1.0", "+1e0"])
def test_values_that_are_one_in_the_row_are_one_content(value: object) -> None:
    assert candidate(parsed(value=value, timestamp=5)).id == candidate(parsed(value=1, timestamp=5)).id
    assert candidate(parsed(value=value)).content == candidate(parsed(value=1)).content


@given(names, names, names, names)
def test_no_two_readings_share_their_content(agent: str, metric: str, agent_2: str, metric_2: str) -> None:
    first = candidate(parsed(agent_id=agent, metric_name=metric, timestamp=5))
    second = candidate(parsed(agent_id=agent_2, metric_name=metric_2, timestamp=5))
    same = (agent, metric) == (agent_2, metric_2)
    assert (first.content == second.content) is same
    assert (first.id == second.id) is same


def test_fields_cannot_run_into_each_other() -> None:
    assert candidate(parsed(agent_id="a:b", metric_name="c")).content != (
        candidate(parsed(agent_id="a", metric_name="b:c")).content
    )
    assert candidate(parsed(agent_id="1:a", metric_name="b")).content != (
        candidate(parsed(agent_id="1", metric_name="a1:b")).content
    )


def test_the_identities_never_change() -> None:
    """Rows and fingerprints of years ago bear them."""
    by_dedupe_id = candidate(parsed(dedupe_id="d-1"))
    by_reading = candidate(parsed(timestamp=1_795_442_400))
    by_coordinate = candidate(parsed())
    found = {
        "dedupe id": by_dedupe_id.reading.key,
        "reading": by_reading.reading.key,
        "coordinate": by_coordinate.reading.key,
        "id": by_reading.id.hex() if by_reading.id else "",
        "content": by_reading.content.hex(),
    }
    assert found == {
        "dedupe id": "123d14f8e76b32400afdb84e1f1eff64",
        "reading": "9498bb99a50653e5151d1807cba0afdb",
        "coordinate": "972048dbcada161ffba23c3616cab9bc",
        "id": "123d14f8e76b3240b13b1ef08586308c",
        "content": "cf79b423fa56c154",
    }
    assert by_dedupe_id.id == bytes.fromhex(by_dedupe_id.reading.key)


@given(payloads, st.text(max_size=70), st.text(max_size=70), st.just(TENANT) | st.text(max_size=40))
def test_nothing_that_a_device_sends_makes_validate_raise(
    payload: dict[str, object], agent_id: str, metric_name: str, tenant_id: str
) -> None:
    topic = f"metrics/{tenant_id}/{agent_id}/{metric_name}"
    message = raw.encode_message(topic, json.dumps(payload).encode(), RECEIVED_AT, qos=1)
    taken_apart = parse(raw.decode(raw.join([message]))[0])
    if isinstance(taken_apart, Parsed):
        msgspec.json.encode(outcome_of(taken_apart))


def test_lone_surrogates_never_reach_a_reading() -> None:
    payload = r'{"value": 1, "dedupe_id": "\ud800", "x": "\udfff"}'
    taken_apart = parse(Message(f"metrics/{TENANT}/a/b", payload))
    assert isinstance(taken_apart, Parsed)
    outcome = outcome_of(taken_apart)
    assert isinstance(outcome, Rejection)
    assert outcome.reason is Reason.DEDUPE_ID_INVALID
    assert outcome.detail.isascii()
