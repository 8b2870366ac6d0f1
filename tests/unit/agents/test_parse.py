import base64
import json
import math
import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.parse import Parsed, parse
from streams.models import MEMBERS, Message, Payload, Reason, Rejection, Stage
from streams.rules.json_depth import MAX_DEPTH, is_too_deep
from streams.rules.json_scanner import read_object
from streams.rules.payload import read_payload
from streams.rules.problem import Problem
from streams.wire import raw

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
TOPIC = f"metrics/{TENANT}/edge-7/cpu.usage.percent"
RECEIVED_AT = "2026-11-23T14:00:00.123456Z"

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
member_names = st.sampled_from(Payload.__struct_fields__) | st.text(max_size=3)
json_objects = st.dictionaries(member_names, json_values)
nearly_json = st.text('{}[],:"\\0123456789.eE+-truefalsn \né\x7f\x00')


def as_sent(payload: bytes, topic: str = TOPIC) -> Message:
    """Return the message that refine reads when a device has published this."""
    return raw.decode(raw.join([raw.encode_message(topic, payload, RECEIVED_AT, qos=1)]))[0]


def parsed(payload: bytes, topic: str = TOPIC) -> Parsed:
    outcome = parse(as_sent(payload, topic))
    assert isinstance(outcome, Parsed), outcome
    return outcome


def rejection(payload: bytes, topic: str = TOPIC) -> Rejection:
    outcome = parse(as_sent(payload, topic))
    assert isinstance(outcome, Rejection), outcome
    assert outcome.stage is Stage.PARSE
    return outcome


def test_topic_and_payload_are_taken_apart() -> None:
    payload = b'{"value": 42.17, "timestamp": "2026-11-23T14:00:00Z", "dedupe_id": "d-1"}'
    found = parsed(payload)
    series = found.series
    assert (series.tenant_id, series.agent_id, series.metric_name) == (TENANT, "edge-7", "cpu.usage.percent")
    assert found.payload == Payload(42.17, "2026-11-23T14:00:00Z", "d-1")
    assert not found.disagrees


@pytest.mark.parametrize(
    "topic",
    [
        "metrics",
        "metrics/a/b",
        "metrics/a/b/c/d",
        "metrics//b/c",
        "metrics/a//c",
        "metrics/a/b/",
        "/metrics/a/b/c",
        "Metrics/a/b/c",
        "metric/a/b/c",
        "metrics/a/b/c\0",
        "metrics/a\0/b/c",
        "",
    ],
)
def test_a_topic_of_another_form_is_malformed(topic: str) -> None:
    assert rejection(b'{"value": 1}', topic).reason is Reason.TOPIC_MALFORMED


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (f"metrics/{TENANT}/edge-1/cpu.usage/extra", "has 5 levels"),
        (f"metrics/{TENANT}/edge-1", "has 3 levels"),
        (f"measures/{TENANT}/edge-1/cpu", "begins with 'measures'"),
        (f"metrics/{TENANT}//cpu", "level 3 of the topic"),
        (f"metrics/{TENANT}/edge-1/cpu\0", "level 4 of the topic holds a NUL"),
    ],
)
def test_what_is_wrong_with_a_topic_is_said_however_far_behind_it_stands(topic: str, said: str) -> None:
    detail = rejection(b'{"value": 1}', topic).detail
    assert said in detail
    assert "it must be metrics/{tenant_id}/{agent_id}/{metric_name}" in detail


def test_the_topic_is_judged_before_the_payload() -> None:
    assert rejection(b"\xff", "metrics/a").reason is Reason.TOPIC_MALFORMED


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"", "not JSON: the payload is empty"),
        (b" \n", "not JSON: the payload is empty"),
        (b"abc", "not JSON: unexpected 'a' at character 1 of the payload"),
        (b"42.17 C", "not JSON: unexpected 'C' at character 7 of the payload"),
        (b"42.17 \xef\xbb\xbf", r"not JSON: unexpected '\ufeff' at character 7 of the payload"),
        (b'{"value": 1', "not JSON: the payload ends too early"),
        (b'{"value": NaN}', "not JSON: unexpected 'N' at character 11 of the payload"),
        (b'{"value": -Infinity}', "not JSON: unexpected '-' at character 11 of the payload"),
        (b"{'value': 1}", 'not JSON: unexpected "\'" at character 2 of the payload'),
        (b'{"value": 01}', "not JSON: unexpected '1' at character 12 of the payload"),
        (b'{"value": 1,}', "not JSON: unexpected '}' at character 13 of the payload"),
        (b'{"value": .5}', "not JSON: unexpected '.' at character 11 of the payload"),
        (b'{"value": 1} {}', "not JSON: unexpected '{' at character 14 of the payload"),
        (b'{"value": "a\tb"}', "not JSON: unexpected '\"' at character 11 of the payload"),
        (b'{"value" 1}', "not JSON: unexpected '1' at character 10 of the payload"),
        (b'{"value": 1 "x": 2}', "not JSON: unexpected '\"' at character 13 of the payload"),
        (b"{1: 2}", "not JSON: unexpected '1' at character 2 of the payload"),
        (b"[1}", "not JSON: unexpected '}' at character 3 of the payload"),
        (b'{"value": ]', "not JSON: unexpected ']' at character 11 of the payload"),
        (
            b'\xef\xbb\xbf{"value": 1}',
            "not JSON: the payload begins with a byte order mark, which JSON does not allow",
        ),
        (b'{"value": "\xff"}', "not UTF-8: byte 0xff at position 12 of the payload"),
        (b'{"value": "\xed\xa0\x80"}', "not UTF-8: byte 0xed at position 12 of the payload"),
        ("{}".encode("utf-16"), "not UTF-8: byte 0xff at position 1 of the payload"),
    ],
)
def test_what_is_no_json_is_rejected_with_the_place(payload: bytes, detail: str) -> None:
    assert rejection(payload) == Rejection(Stage.PARSE, Reason.PAYLOAD_NOT_JSON, detail)
    # The same words where more follows than is read token by token.
    assert rejection(payload + b" " * 300).detail == detail


@pytest.mark.parametrize("size", [100, 300, 60_000])
def test_a_mistake_is_named_however_far_behind_it_stands(size: int) -> None:
    found = f"not JSON: unexpected 'x' at character {size + 10} of the payload"
    assert rejection(b'{"a": "%s" x}' % (b"y" * size)).detail == found


@pytest.mark.parametrize("padding", ["", " " * 300])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_more_digits_than_any_double_has_is_infinite(sign: str, padding: str) -> None:
    digits = 400 - len(sign)
    longest, longer = f"{sign}{'9' * digits}", f"{sign}{'9' * (digits + 1)}"
    assert read_object(f'{{"value":{longest}}}{padding}') == {"value": int(longest)}
    assert read_object(f'{{"value":{longer}}}{padding}') == {"value": float(f"{sign}inf")}


@pytest.mark.parametrize("payload", [b"42.17", b'"42.17"', b"[1]", b"null", b"true", b"1e999"])
def test_json_that_is_no_object_is_rejected_with_an_example(payload: bytes) -> None:
    detail = 'the payload is JSON, but no object such as {"value": 42.17}'
    assert rejection(payload) == Rejection(Stage.PARSE, Reason.PAYLOAD_NOT_OBJECT, detail)
    assert rejection(payload + b" " * 300).detail == detail


@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}"), ('["]\\"]",{"b": [', "]}]")])
def test_what_nests_as_deep_as_php_takes_it_is_json_and_deeper_is_not(before: str, after: str) -> None:
    levels = before.count("{") + before.count("[")

    def nested(depth: int) -> bytes:
        times = depth // levels
        return f'{{"value": 1, "x": {before * times}1{after * times}}}'.encode()

    assert parsed(nested(MAX_DEPTH - 1)).payload == Payload(1)  # one more is the payload itself
    too_deep = rejection(nested(MAX_DEPTH - 1 + levels))
    assert too_deep.reason is Reason.PAYLOAD_NOT_JSON
    assert "nest more than 511 deep" in too_deep.detail


def slow_depth(text: str) -> int:
    depth = deepest = 0
    for mark in re.sub(r'"(?:[^"\\]|\\.)*(?:"|\\?$)', "", text, flags=re.DOTALL):
        depth += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, depth)
    return deepest


strings = st.lists(st.sampled_from(["[", "]", "{", r"\"", r"\\", "a", "é", r"\ud800"]), max_size=4).map(
    lambda pieces: f'"{"".join(pieces)}"'
)


@given(
    st.lists(st.sampled_from(["[", "]", "{", "}", "[[[[", "]]]]", "1,"]) | strings, max_size=400).map(
        "".join
    ),
    st.sampled_from(["", '"', '"[', '"\\']),
    st.integers(450, MAX_DEPTH),
)
@example("[" * 70 + "]" * 140, "", MAX_DEPTH - 69)
@example("[]" * 40 + "[", "", MAX_DEPTH)
@example("", "", MAX_DEPTH)
def test_how_deep_a_text_nests_is_told_exactly(text: str, end: str, before: int) -> None:
    whole = "[" * before + text + end
    assert is_too_deep(whole) is (slow_depth(whole) > MAX_DEPTH)


@pytest.mark.parametrize("before", range(32))
def test_the_deepest_bracket_is_found_wherever_it_stands_among_those_that_are_looked_at_together(
    before: int,
) -> None:
    for steps in ("[]", "[[]"):
        led_up = (len(steps) % 2) * before
        deepest = "[" * (MAX_DEPTH - led_up)
        assert not is_too_deep(steps * before + deepest + "]")
        assert is_too_deep(steps * before + deepest + "[]")
        assert is_too_deep(steps * before + deepest + "[" + "]" * MAX_DEPTH + "[]" * before)


def test_the_depth_of_a_text_is_told_whatever_its_characters() -> None:
    assert is_too_deep("[" * 600 + "\ud800")
    assert not is_too_deep("[]" * 600 + "\ud800")
    assert not is_too_deep('"' + "[" * 600 + '"')  # which has no bracket outside of strings


@pytest.mark.parametrize("mistake", ["", "]", '"', "x", '"\\'])
def test_what_nests_too_deep_is_told_so_whatever_follows(mistake: str) -> None:
    for deep in ("[" * 600, "[" * 60_000, '{"a":[' * 300):
        found = rejection(b'{"x":' + f"{deep}{mistake}".encode() + b" " * 600)
        assert "nest more than 511 deep" in found.detail


def test_an_escape_too_many_ends_no_string() -> None:
    text = '{"x": "' + r"\\" * 300 + '", "y": "' + r"\"[" * 600 + '", "value": 1}'
    assert parsed(text.encode()).payload == Payload(1)


def test_brackets_in_strings_and_side_by_side_do_not_nest() -> None:
    for further in ('"' + "[" * 30_000 + '"', "[" + "[]," * 10_000 + "[]]", '["' + '[","' * 5_000 + '"]'):
        assert parsed(f'{{"x": {further}, "value": 1}}'.encode()).payload == Payload(1)
    assert rejection(b"[" * 60_000).reason is Reason.PAYLOAD_NOT_JSON


def test_a_payload_of_64_kib_passes_and_a_byte_more_is_too_large() -> None:
    padding = raw.MAX_BYTES - len('{"value": 1}')
    largest = b'{"value": 1' + b" " * padding + b"}"
    assert parsed(largest).payload.value == 1
    assert rejection(largest + b" ") == Rejection(
        Stage.PARSE,
        Reason.PAYLOAD_TOO_LARGE,
        "the payload has 65537 bytes; at most 65536 are allowed",
    )


@pytest.mark.parametrize(
    "further",
    [
        b"null",
        b"1e999",
        b"9" * 9999,
        rb'"\ud800"',
        rb'"\udc00\ud800"',
        b"[" * 500 + b"]" * 500,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"value": 2, "timestamp": 3, "dedupe_id": 4}',
        b'[{"value": 2}]',
    ],
    ids=range(9),
)
def test_further_members_are_ignored_whatever_they_hold(further: bytes) -> None:
    outcome = parsed(b'{"x": ' + further + b', "value": 1, "y": ' + further + b"}")
    assert outcome.payload == Payload(1)


def test_null_counts_as_absent() -> None:
    nothing = parsed(b"{}")
    assert parsed(b'{"value": null, "timestamp": null, "dedupe_id": null}') == nothing
    assert nothing.payload == Payload()


@pytest.mark.parametrize("further", [b"", rb', "x": "\ud800"'])
def test_of_members_with_one_name_the_last_counts(further: bytes) -> None:
    assert parsed(b'{"value": 1, "value": [], "v\\u0061lue": 2' + further + b"}").payload.value == 2


@pytest.mark.parametrize(
    ("payload", "disagrees"),
    [
        ({"tenant_id": TENANT, "agent_id": "edge-7", "metric_name": "cpu.usage.percent"}, False),
        ({"tenant_id": TENANT.upper()}, False),
        ({"tenant_id": None, "agent_id": None, "metric_name": None}, False),
        ({"tenant_id": "11111111-1111-4111-8111-111111111111"}, True),
        ({"tenant_id": 1}, True),
        ({"agent_id": "Edge-7"}, True),
        ({"metric_name": ["cpu.usage.percent"]}, True),
    ],
)
def test_a_payload_that_repeats_the_topic_differently_disagrees(
    payload: dict[str, object], *, disagrees: bool
) -> None:
    assert parsed(json.dumps(payload).encode()).disagrees is disagrees


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not base64!", "payload_base64 cannot be read: "),
        ("é", "payload_base64 cannot be read: "),
        ("\0", "not JSON: the payload is empty"),
    ],
)
def test_base64_that_cannot_be_read_is_a_rejection(text: str, said: str) -> None:
    outcome = parse(Message(TOPIC, payload_base64=text, received_at=RECEIVED_AT))
    assert isinstance(outcome, Rejection)
    assert outcome.reason is Reason.PAYLOAD_NOT_JSON
    assert outcome.detail.startswith(said)


@given(json_objects)
@example({"value": 10**400})
@example({"value": -0.0})
def test_the_scanner_reads_what_the_fast_decoder_reads(members: dict[str, object]) -> None:
    text = json.dumps(members)
    slow = read_object(text)
    assert isinstance(slow, dict)
    fast = read_payload(Message(TOPIC, text))
    assert isinstance(fast, Payload)
    for name in Payload.__struct_fields__:
        expected, found = getattr(fast, name), slow.get(name)
        if isinstance(expected, list | dict):
            assert type(found) is type(expected)
        elif isinstance(expected, int) and abs(expected) >= 10**399:
            assert found == math.copysign(math.inf, expected > 0 or -1)
        else:
            assert (type(found), repr(found)) == (type(expected), repr(expected))


@given(nearly_json | st.text() | json_objects.map(json.dumps))
@example('{"value":"\\uD83D\\ude00 \\ud800"}')
@example('{"value":"\\\\ud800","x":"\\udfff"}')
@example('{"v\\u0061lue":[1],"value":{"value":2}}')
@example("0\0")
@example('{"a":"' + "0" * 248 + '",f')
@example('{"a":"' + "0" * 249 + "\\u1")
def test_a_long_text_is_read_as_a_short_one(text: str) -> None:
    short, long = read_object(text[:256]), read_object(text[:256] + " " * 257)
    if isinstance(short, Problem) and text.strip():
        assert isinstance(long, Problem)
        assert long == short or long.detail == "not JSON: the payload ends too early"
    elif isinstance(short, dict):
        wanted = {name: value for name, value in short.items() if name in MEMBERS}
        assert repr(long) == repr({name: wanted[name] for name in MEMBERS if name in wanted})


def test_a_long_text_in_which_a_half_of_a_pair_cannot_be_told_from_a_character_is_refused() -> None:
    outcome = read_object(r'{"dedupe_id":"\u083d","x":"\ud83d"}' + " " * 257)
    detail = "not JSON: a string is there twice, and one of its surrogates is only half of a pair"
    assert outcome == Problem(Reason.PAYLOAD_NOT_JSON, detail)


@given(nearly_json | st.text())
@example('{"a":1}{')
@example("-")
@example("1.")
@example("[1,]")
@example('"\\u12"')
@example('{"a":tru}')
def test_the_scanner_accepts_exactly_what_the_standard_library_does(text: str) -> None:
    try:
        expected: object = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        outcome = read_object(text)
        assert isinstance(outcome, Problem)
        assert outcome.reason is Reason.PAYLOAD_NOT_JSON
    else:
        outcome = read_object(text)
        if isinstance(expected, dict):
            assert isinstance(outcome, dict)
            assert outcome.keys() == expected.keys()
        else:
            assert isinstance(outcome, Problem)
            assert outcome.reason is Reason.PAYLOAD_NOT_OBJECT


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


@given(st.text(), st.binary() | json_objects.map(lambda members: json.dumps(members).encode()))
def test_nothing_that_a_device_sends_makes_parse_raise(topic: str, payload: bytes) -> None:
    for named in (topic, TOPIC):
        outcome = parse(as_sent(payload, named))
        assert isinstance(outcome, Parsed | Rejection)
        msgspec.json.encode(outcome.detail if isinstance(outcome, Rejection) else outcome.series.agent_id)


@given(st.binary())
def test_a_message_keeps_its_bytes_until_it_is_rejected(payload: bytes) -> None:
    message = as_sent(payload)
    assert message.payload_bytes() == payload
    if message.payload_base64 is not None:
        assert base64.b64decode(message.payload_base64) == payload
