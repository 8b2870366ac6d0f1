"""`explain` says what refine would do, in order, and whatever a device may send is explained."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.explanation import Explanation, Prospect, examine_alone, explain
from streams.demo.malformed import FAULTS, Fault, Sound
from streams.models import Reason
from streams.settings import Settings

SETTINGS = Settings.from_mapping({})
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
STRANGER = str(uuid.UUID(int=7))
AT = "2026-11-23T14:00:00.123456Z"
SOUND = Sound(TENANT, "edge-7", "cpu.usage", "d-1", STRANGER)


def explained(
    topic: str, payload: bytes, *, exists: bool | None = True, settings: Settings = SETTINGS
) -> Explanation:
    examined = examine_alone(topic, payload, AT, settings)
    if examined.tenant_id == STRANGER:
        exists = False
    return explain(examined, settings, exists=exists, why_unknown="postgres is away")


@pytest.mark.parametrize(("reason", "fault"), FAULTS, ids=[str(reason) for reason, _ in FAULTS])
def test_each_fault_is_explained_by_its_reason(reason: Reason, fault: Fault) -> None:
    told = explained(*fault(SOUND))
    assert told.outcome is Prospect.REJECTED
    assert told.rejection is not None
    assert told.rejection.reason is reason
    assert any(told.rejection.detail in step.says for step in told.steps)


def test_a_sound_message_is_followed_to_its_row() -> None:
    told = explained(SOUND.topic(), SOUND.payload(timestamp="2026-11-23T13:00:00Z"))
    assert told.outcome is Prospect.ACCEPTED
    assert [step.step for step in told.steps] == [
        "ingress",
        "parse",
        "validate",
        "tenant",
        "dedupe",
        "handoff",
    ]
    assert told.row is not None
    assert (told.row["value"], told.row["timestamp"], told.row["dedupe_id"]) == (
        42.17,
        "2026-11-23 13:00:00.000000",
        "d-1",
    )


@pytest.mark.parametrize(
    ("payload", "known_by"),
    [
        ({"value": 1, "dedupe_id": "d"}, "its dedupe_id"),
        ({"value": 1, "timestamp": "2026-11-23T13:00:00Z"}, "its metric, value and timestamp"),
        ({"value": 1}, "by nothing"),
    ],
)
def test_it_says_by_what_a_copy_is_known(payload: dict[str, object], known_by: str) -> None:
    told = explained(SOUND.topic(), json.dumps(payload).encode())
    assert any(known_by in step.says for step in told.steps)


def test_a_derived_id_is_shown_where_it_does_not_hang_on_the_place() -> None:
    payload = b'{"value": 1, "timestamp": "2026-11-23T13:00:00Z"}'
    derived = explained(SOUND.topic(), payload).row
    without = explained(
        SOUND.topic(), payload, settings=Settings.from_mapping({"DEDUPE_ID_WHEN_MISSING": "none"})
    ).row
    assert derived is not None
    assert len(str(derived["dedupe_id"])) == 32
    assert without is not None
    assert without["dedupe_id"] is None


def test_what_is_not_subscribed_to_is_said_so() -> None:
    told = explained("sensors/x", b"1")
    assert (told.outcome, len(told.steps)) == (Prospect.NOT_RECEIVED, 1)
    assert "MQTT_TOPIC_FILTER=metrics/#" in told.steps[0].says


def test_where_nobody_can_tell_whether_the_tenant_exists_it_says_so() -> None:
    told = explained(SOUND.topic(), SOUND.payload(), exists=None)
    assert any("postgres is away" in step.says for step in told.steps)


@given(st.text(max_size=80).filter(lambda text: "\0" not in text), st.binary(max_size=200))
def test_whatever_a_device_sends_is_explained(topic: str, payload: bytes) -> None:
    told = explained(f"metrics/{topic}", payload)
    assert told.steps
    assert (told.outcome is Prospect.REJECTED) is (told.rejection is not None)
