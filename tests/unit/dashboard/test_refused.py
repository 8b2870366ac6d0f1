"""A few examples of each reason are kept, short, whatever devices send."""

from streams.dashboard.refused import EXAMPLES, SHOWN_CHARACTERS, Refused
from streams.models import Message, Origin, Reason, Stage
from streams.wire.decision import Refusal

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def refusal(index: int, reason: Reason = Reason.VALUE_MISSING, detail: str = "no value") -> Refusal:
    return Refusal(index, Stage.VALIDATE, reason, detail)


def message(tenant: str = TENANT, payload: str | None = "{}", base64: str | None = None) -> Message:
    return Message(f"metrics/{tenant}/edge/cpu", payload, base64)


def test_the_last_of_each_reason_is_an_example_with_its_coordinate() -> None:
    refused = Refused()
    refused.note(
        Origin(3, 1841),
        [message(), message(payload="[1]"), message(payload='{"value":')],
        [refusal(0), refusal(1, Reason.PAYLOAD_NOT_OBJECT), refusal(2, Reason.PAYLOAD_NOT_JSON)],
        50.0,
    )
    examples = refused.examples()
    assert examples.keys() == {"value_missing", "payload_not_object", "payload_not_json"}
    (example,) = examples["payload_not_json"]
    assert (example.origin, example.payload, example.at) == ("3-1841-2", '{"value":', 50.0)


def test_examples_are_bounded_and_the_latest_comes_first() -> None:
    refused = Refused()
    for offset in range(50):
        refused.note(Origin(0, offset), [message()], [refusal(0)], float(offset))
    examples = refused.examples()["value_missing"]
    assert [example.at for example in examples] == [49.0, 48.0, 47.0]
    assert len(examples) == EXAMPLES


def test_what_is_long_is_cut() -> None:
    refused = Refused()
    refused.note(Origin(0, 0), [message(payload="x" * 60_000)], [refusal(0, detail="y" * 5_000)], 0.0)
    (example,) = refused.examples()["value_missing"]
    assert max(map(len, (example.payload, example.detail, example.topic))) <= SHOWN_CHARACTERS + 1


def test_bytes_that_are_no_text_are_shown_as_far_as_they_are() -> None:
    refused = Refused()
    refused.note(Origin(0, 0), [message(payload=None, base64="/2hp")], [refusal(0)], 0.0)
    assert refused.examples()["value_missing"][0].payload == "\ufffdhi"


def test_base64_that_is_none_is_shown_as_it_stands() -> None:
    """In a record that somebody else has put on the raw topic; refine rejects it, and must not fail of it."""
    refused = Refused()
    refused.note(Origin(0, 0), [message(payload=None, base64="A")], [refusal(0)], 0.0)
    assert refused.examples()["value_missing"][0].payload == "A"


def test_tenants_that_do_not_exist_are_counted_by_tenant() -> None:
    refused = Refused()
    messages = [message("A" + TENANT[1:]), message("b" + TENANT[1:]), message("a" + TENANT[1:]), message()]
    unknown = [refusal(index, Reason.TENANT_UNKNOWN) for index in range(3)]
    refused.note(Origin(0, 0), messages, [*unknown, refusal(3)], 7.0)
    refused.unknown_tenants.fold(7.0, 1.0)
    counted = {busy.key: busy.total for busy in refused.unknown_tenants.latest(10)}
    assert counted == {"a" + TENANT[1:]: 2, "b" + TENANT[1:]: 1}
