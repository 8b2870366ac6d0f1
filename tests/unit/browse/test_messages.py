"""What people look for in the topics: coordinates, the messages of a record, and filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.browse.coordinate import Coordinate
from streams.browse.filters import Filter
from streams.browse.messages import Browsed, TopicKind, TopicRecord, messages_of
from streams.errors import MetricStreamsError
from streams.models import Origin, Reading, Reason, RejectedMessage, Stage
from streams.wire import raw, rejected, unique

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
RECEIVED = "2026-11-23T14:00:00.123456Z"
ORIGIN = Origin(3, 1841)


def record(kind: TopicKind, value: bytes) -> TopicRecord:
    return TopicRecord(kind, 3, 77, 1_795_442_400_000, value, {})


def raw_messages(*published: tuple[str, bytes]) -> list[Browsed]:
    value = raw.join([raw.encode_message(topic, payload, RECEIVED, 1) for topic, payload in published])
    return list(messages_of(record(TopicKind.RAW, value)))


def one(topic: str = f"metrics/{TENANT}/edge-7/cpu.usage", payload: bytes = b'{"value": 1}') -> Browsed:
    return raw_messages((topic, payload))[0]


def one_rejected(reason: Reason = Reason.TENANT_UNKNOWN, detail: str = "no tenant of that name") -> Browsed:
    message = RejectedMessage(
        4, f"metrics/{TENANT}/edge-7/cpu", '{"value": 1}', None, RECEIVED, 1, None, detail
    )
    value = rejected.encode(ORIGIN, Stage.VALIDATE, reason, [message])
    return next(messages_of(record(TopicKind.REJECTED, value)))


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**18 - 1), st.none() | st.integers(0, 10**9 - 1))
def test_a_coordinate_is_read_as_it_is_written(partition: int, offset: int, index: int | None) -> None:
    assert Coordinate.parse(str(Coordinate(partition, offset, index))) == Coordinate(partition, offset, index)


@pytest.mark.parametrize(
    "text", ["", "3", "3-", "-3-1", "3-1-", "3-1-2-3", "a-1", "3-\u0661", "3-1x", "9" * 30 + "-1"]
)
def test_what_is_no_coordinate_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(MetricStreamsError, match=r"\A.*PARTITION-OFFSET-INDEX\Z"):
        Coordinate.parse(text)


def test_a_chunk_holds_its_messages_and_a_message_itself_alone() -> None:
    assert Coordinate(3, 1841).holds(Coordinate(3, 1841, 4))
    assert Coordinate(3, 1841, 4).holds(Coordinate(3, 1841, 4))
    assert not Coordinate(3, 1841, 4).holds(Coordinate(3, 1841, 5))
    assert not Coordinate(3, 1841).holds(Coordinate(3, 1842, 4))
    assert not Coordinate(3, 1841).holds(Coordinate(2, 1841, 4))


def test_a_raw_chunk_is_shown_as_its_messages_each_with_its_coordinate() -> None:
    found = raw_messages((f"metrics/{TENANT}/a/cpu", b"1"), (f"metrics/{TENANT}/b/cpu", b"\xff"))
    assert [str(each.coordinate) for each in found] == ["3-77-0", "3-77-1"]
    assert [each.names for each in found] == [(TENANT, "a", "cpu"), (TENANT, "b", "cpu")]
    assert found[1].text == f"metrics/{TENANT}/b/cpu\n\ufffd\n"


def test_a_rejected_message_keeps_the_coordinate_of_its_raw_record_and_says_why() -> None:
    found = one_rejected()
    assert (str(found.coordinate), found.reason, found.stage) == (
        "3-1841-4",
        Reason.TENANT_UNKNOWN,
        Stage.VALIDATE,
    )
    assert (
        found.as_dict() | {"detail": "no tenant of that name", "reason": "tenant_unknown"} == found.as_dict()
    )


def test_a_reading_is_shown_with_its_names() -> None:
    reading = Reading(
        index=2,
        tenant_id=TENANT,
        agent_id="edge-7",
        metric_name="cpu",
        value=42.17,
        timestamp="2026-11-23 14:00:00.123456",
        dedupe_id="d-1",
        key="0" * 32,
    )
    (found,) = messages_of(record(TopicKind.UNIQUE, unique.encode(ORIGIN, [reading])))
    assert (found.names, str(found.coordinate)) == ((TENANT, "edge-7", "cpu"), "3-1841-2")
    assert Filter(text="D-1").matches(found)


@pytest.mark.parametrize("kind", list(TopicKind))
@pytest.mark.parametrize("value", [b"", b"nonsense", b"\xff" * 5_000, b'{"messages":3}', b"[" * 100_000])
def test_a_record_that_is_none_of_ours_is_shown_by_its_beginning(kind: TopicKind, value: bytes) -> None:
    (found,) = messages_of(record(kind, value))
    assert str(found.coordinate) == "3-77-0"
    assert len(found.text) <= 1_024 + 2
    assert Filter().matches(found)


@pytest.mark.parametrize(
    "topic", ["", "x", "metrics", "metrics//", "metrics/t", "metrics/t/a", "a/b/c/d/e", "/"]
)
def test_a_topic_of_any_form_has_names_to_filter_by(topic: str) -> None:
    assert len(one(topic).names) == 3
    assert not Filter(agents=["nobody"]).matches(one(topic))


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(tenants=[TENANT]),
        Filter(tenants=[TENANT.upper()]),
        Filter(tenants=["7c9e*"], agents=["edge-?"], metrics=["cpu.*"]),
        Filter(agents=["nobody", "edge-[0-9]"]),
        Filter(text='"VALUE": 1'),
        Filter(text="EDGE-7"),
        Filter(coordinates=[Coordinate(3, 77)]),
        Filter(coordinates=[Coordinate(1, 1), Coordinate(3, 77, 0)]),
    ],
)
def test_a_message_that_is_wanted_passes(wanted: Filter) -> None:
    assert wanted.matches(one())


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(tenants=["7c9e"]),
        Filter(agents=["edge"]),
        Filter(agents=["EDGE-7"]),
        Filter(metrics=["cpu"]),
        Filter(agents=["edge-7"], metrics=["memory"]),
        Filter(text="absent"),
        Filter(reasons=[Reason.TENANT_UNKNOWN]),
        Filter(coordinates=[Coordinate(3, 77, 1)]),
    ],
)
def test_one_that_is_not_wanted_does_not(wanted: Filter) -> None:
    assert not wanted.matches(one())
    assert not wanted.is_open


def test_rejected_messages_are_found_by_reason_and_by_what_the_detail_says() -> None:
    assert Filter(reasons=[Reason.TENANT_UNKNOWN, Reason.VALUE_MISSING]).matches(one_rejected())
    assert not Filter(reasons=[Reason.VALUE_MISSING]).matches(one_rejected())
    assert Filter(text="NO TENANT").matches(one_rejected())


@given(st.text(), st.text(max_size=50))
def test_no_glob_and_no_name_make_a_filter_fail(glob: str, agent: str) -> None:
    assert Filter(agents=[glob]).matches(one(f"metrics/t/{agent}/m")) in {True, False}
    assert Filter(agents=["*"]).matches(one(f"metrics/t/{agent}/m"))
