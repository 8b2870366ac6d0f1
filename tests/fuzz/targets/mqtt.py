"""A publication as a device sends it: a byte for the QoS, the topic to the end of the line, the payload.

From a first byte of 0x80 on, topic and payload are built from what follows, so that more of them are valid.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from agents.examine import Examined, by_reason, examine
from agents.handoff import jobs_of
from streams.laravel.job import JobMetric, decode_job
from streams.laravel.replays import ChunkId
from streams.models import Candidate, Message, Origin, Reason, Rejection
from streams.rules.payload import MAX_BYTES
from streams.wire import raw, rejected, unique
from streams.wire.decision import Refusal
from tests.fuzz.oracles import fits_the_tables, runs_as_a_job
from tests.fuzz.publications import TENANT, built
from tests.fuzz.source import Source

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:]{8}(?<!60)(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?", re.ASCII
)
"""What Python's own reader of times knows as well, but for 24:00."""
AT, AT_STORED = "2026-11-23T14:00:00.123456Z", "2026-11-23 14:00:00.123456"
ORIGIN = Origin(3, 1841)
KNOWN_BY = ChunkId(1, ORIGIN.offset, b"8 bytes.")
DAY_S = 86_400.0
DETAIL_LENGTH = 300
_TOPIC = f"1metrics/{TENANT}/edge-7/cpu.usage.percent\n".encode()
_PAYLOADS = [
    b'{"value": 42.17}',
    b'{"value": "-1.50e3", "timestamp": "2026-11-23T14:00:00.5+01:00", "dedupe_id": "d-1"}',
    b'{"value": 1, "timestamp": "2026-11-23 14:00:00", "dedupe_id": 0}',
    b'{"value": 1, "timestamp": "2026-11-22t23:59:59.1234567-05:30"}',
    b'{"value": 1, "timestamp": "Fri, 20 Nov 2026 10:00:00 GMT"}',
    b'{"value": 1, "timestamp": "20261120T100000 EST"}',
    b'{"value": 1, "timestamp": "2026-W47-5 24:00 Europe/Berlin"}',
    b'{"value": 1, "timestamp": "Nov  6 2026 10:00", "dedupe_id": "@1795442400.5"}',
    b'{"value": 1, "timestamp": 1795442400123, "tenant_id": "x", "agent_id": 1, "metric_name": null}',
    b'{"value": 1, "timestamp": "1795442400.5", "more": [{"a": [true, false, null]}]}',
    b'{"value": 1, "timestamp": "2016-12-31T23:59:60Z", "dedupe_id": "\\ud83d\\ude00"}',
    b'{"value": 1e999, "dedupe_id": "\\ud800"}',
    b'{"value": ' + b"9" * 5000 + b"}",
    b'{"value": 1, "deep": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"value": "1", "dedupe_id": "' + b"d" * 128 + b'"}',
    b'{"value": "1", "dedupe_id": "' + "é".encode() * 129 + b'"}',
    b'{"value": "1", "dedupe_id": "\\u0000"}',
    b'{"value": "nan"}',
    b'{"value": -1000000000000, "timestamp": 2147483648}',
    b"[1]",
    b"\xff\x00",
    b"",
]
_LENGTHS = [(64, 64), (65, 1), (1, 65)]  # of agent and metric; the last two are one too long
SEEDS = [
    *(_TOPIC + payload for payload in _PAYLOADS),
    *(f"1metrics/{TENANT}/{'é' * a}/{'m' * m}\n".encode() + b'{"value": 1}' for a, m in _LENGTHS),
    b"\xf0" + _TOPIC[1:] + b'{"value": 1}',
    b"1metrics/\xff\xfe/edge-7/\xc3\xa9\n{}",
    b"2metrics//a/b\n1",
    *(bytes([0x80, *range(start, start + 60)]) for start in range(0, 190, 9)),
]
WORDS = [
    b'"value":',
    b'"timestamp":',
    b'"dedupe_id":',
    b"NaN",
    b'"NaN"',
    b"Infinity",
    b'"-INF"',
    b"-0.0",
    b"null",
    b"true",
    b"e308",
    b"\\u0000",
    b"\\ud800",
    b"\xef\xbf\xbd",
    b"\xef\xbb\xbf",
    b"T23:59:60Z",
    b"999999999999.9999",
    b"1000000000000",
    b"2038-01-19 03:14:07.999999",
    b"1970-01-01 00:00:01",
    TENANT.upper().encode(),
]


def fuzz(data: bytes) -> None:
    """A publication is accepted as it stands in JSON and as the tables take it, or rejected and explained."""
    topic, payload, qos = _publication(data)
    good = raw.encode_message(f"metrics/{TENANT}/edge-1/cpu", b'{"value": 1}', AT, 1)
    messages = raw.decode(raw.join([good, raw.encode_message(topic, payload, AT, qos), good]))
    _came_as_it_went(messages[1], topic, payload, qos)
    examined = examine(messages, ORIGIN, DAY_S)
    assert examined.candidates.keys() >= {0, 2}
    assert examined.candidates.keys() ^ examined.rejections.keys() == {0, 1, 2}
    if 1 in examined.candidates:
        _accepted(examined.candidates[1], messages, payload)
    else:
        _explained(examined, messages, payload)


def _publication(data: bytes) -> tuple[str, bytes, int]:
    head, _, payload = data.partition(b"\n")
    lead = head[0] if head else 0
    if 0x80 <= lead < 0xF0:
        return *built(Source(data[1:])), lead % 3
    if lead >= 0xF0:  # otherwise none would ever be too large
        payload *= 1 + MAX_BYTES // max(1, len(payload))
    # As paho's topic is decoded in streams/mqtt/paho_client.py.
    return head[1:].decode("utf-8", "surrogateescape"), payload, lead % 3


def _came_as_it_went(message: Message, topic: str, payload: bytes, qos: int) -> None:
    assert message.topic == re.sub("[\ud800-\udfff]", "\ufffd", topic)
    assert (message.qos, message.received_at) == (qos, AT)
    if len(payload) > MAX_BYTES:
        assert message.size_bytes == len(payload)
        assert payload.startswith(message.payload_bytes())
    else:
        assert (message.size_bytes, message.payload_bytes()) == (None, payload)


def _accepted(candidate: Candidate, messages: Sequence[Message], payload: bytes) -> None:
    reading = candidate.reading
    fits_the_tables(reading)
    assert f"metrics/{reading.tenant_id}/{reading.agent_id}/{reading.metric_name}".lower() == (
        messages[1].topic.lower()
    )
    _means_what_it_says(candidate, payload)
    chunk = unique.decode(unique.encode(ORIGIN, [reading]))
    assert chunk == unique.UniqueChunk(ORIGIN, [reading])
    for derive_ids in (True, False):
        dedupe_id = reading.dedupe_id or (reading.key if derive_ids else None)
        metric = JobMetric(
            agent_id=reading.agent_id,
            metric_name=reading.metric_name,
            value=reading.value,
            timestamp=reading.timestamp,
            dedupe_id=dedupe_id,
        )
        runs_as_a_job(reading.tenant_id, [metric])
        (job,) = jobs_of(chunk, KNOWN_BY, derive_ids=derive_ids)
        assert decode_job(job).metrics == [metric]
    again = examine(messages, ORIGIN, float("inf"), skip={0, 2})
    assert again.candidates == {1: candidate}, "a replay finds something else"


def _means_what_it_says(candidate: Candidate, payload: bytes) -> None:
    """Compare with another reader of JSON and of times."""
    try:
        members = _read_json(payload)
    except RecursionError:
        return
    assert isinstance(members, dict)
    assert float(members["value"]) == candidate.reading.value
    dedupe_id, timestamp = members.get("dedupe_id"), members.get("timestamp")
    if isinstance(dedupe_id, str):
        assert candidate.reading.dedupe_id == ("id-0" if dedupe_id == "0" else dedupe_id or None)
    if timestamp is None:
        assert candidate.reading.timestamp == AT_STORED
    elif isinstance(timestamp, str) and _RFC_3339.fullmatch(timestamp) and timestamp[11:13] != "24":
        at = datetime.fromisoformat(timestamp.upper())
        at = at.astimezone(UTC) if at.tzinfo else at
        assert candidate.reading.timestamp == f"{at:%Y-%m-%d %H:%M:%S.%f}"


def _read_json(payload: bytes) -> object:
    return json.loads(payload.decode(), parse_constant=_refuse, parse_int=float)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _explained(examined: Examined, messages: Sequence[Message], payload: bytes) -> None:
    rejection = examined.rejections[1]
    assert rejection.reason is not Reason.INTERNAL_ERROR, rejection.detail
    assert 0 < len(rejection.detail) <= DETAIL_LENGTH
    assert len(rejection.detail.splitlines()) == 1
    refusal = Refusal(1, rejection.stage, rejection.reason, rejection.detail)
    (((stage, reason), group),) = by_reason(messages, [refusal]).items()
    chunk = rejected.decode(rejected.encode(ORIGIN, stage, reason, group))
    assert chunk == rejected.RejectedChunk(ORIGIN, stage, reason, group)
    _rightly(rejection, payload)


def _rightly(rejection: Rejection, payload: bytes) -> None:
    """What the other reader says of a payload that is called no JSON or no object."""
    try:
        members = _read_json(payload)
    except RecursionError:
        return
    except ValueError:
        assert rejection.reason in (
            Reason.TOPIC_MALFORMED,
            Reason.PAYLOAD_NOT_JSON,
            Reason.PAYLOAD_TOO_LARGE,
        )
        return
    if "nest more than" in rejection.detail or "only half of a pair" in rejection.detail:
        return  # which Python reads
    assert rejection.reason is not Reason.PAYLOAD_NOT_JSON, rejection.detail
    if rejection.reason is Reason.PAYLOAD_NOT_OBJECT:
        assert not isinstance(members, dict)
    if rejection.reason is Reason.VALUE_MISSING:
        assert isinstance(members, dict)
        assert members.get("value") is None
