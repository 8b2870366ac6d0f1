"""What validation accepts never fails a job, whichever database is behind it."""

import json
import math
import random
import struct
from collections.abc import Iterable

import msgspec
import pytest

from agents.parse import parse
from agents.validate import validate
from streams.laravel import broadcast as publication
from streams.laravel.job import JobMetric
from streams.models import Candidate, Message, Origin, Rejection
from tests.contract.bench import Metric, Row
from tests.contract.conftest import OpenBench
from tests.contract.laravel import TENANT
from tests.contract.ways import Way, from_handoff
from tests.fuzz import publications
from tests.fuzz.source import Source

RECEIVED_AT = "2038-01-19T03:14:07.999999Z"
"""The latest that there is: no timestamp lies too far ahead of it."""

VALUES = [
    *(sign * number for sign in (1, -1) for number in (999_999_999_999, 999_999_999_999.99)),
    *("999999999999.99", "-1e-400", "0.00005", "123456789.123456789123456789"),
    *(5e-324, 2.2e-308, 0.00005, 0.12345, 99_999_999_999.123_45, 123_456_789_012.345_6),
]
TIMES = [
    *("1970-01-01 00:00:01", 1, "1970-01-01T02:00:01.000001+02:00", "2000-02-29 23:59:59.999999"),
    *(
        "2026-03-29T02:30:00.000001Z",
        "2026-10-25 02:30:00",
        "2016-12-31T23:59:60Z",
        "2026-11-23 14:00:00.9999999",
    ),
    *("2038-01-19 03:14:07", "2038-01-19T03:14:07.999999Z", 2_147_483_647_999_999_999),
]
CHARACTERS = [
    *"aéßΩ\u0130\\' ",
    *"\u0301\u200b\ufeff\uffff\U0001f321\U0010ffff",
]


def message(payload: object, agent_id: str = "edge-7", metric_name: str = "cpu") -> Message:
    topic = f"metrics/{TENANT}/{agent_id}/{metric_name}"
    return Message(topic, msgspec.json.encode(payload).decode(), received_at=RECEIVED_AT, qos=1)


def judged(sent: Message, index: int = 0) -> Candidate | Rejection:
    parsed = parse(sent)
    if isinstance(parsed, Rejection):
        return parsed
    return validate(parsed, Origin(3, 1_000), index, sent.received_at, 86_400)


def accepted(messages: Iterable[Message]) -> list[Metric]:
    """Return the metrics of the messages that go on, as handoff gets them."""
    found = [judged(sent, index) for index, sent in enumerate(messages)]
    readings = [one.reading for one in found if isinstance(one, Candidate)]
    names = ("agent_id", "metric_name", "value", "timestamp", "dedupe_id")
    return [{name: getattr(reading, name) for name in names} for reading in readings]


def at_the_limits() -> list[Message]:
    return [
        *(message({"value": value, "dedupe_id": f"v-{i}"}) for i, value in enumerate(VALUES)),
        *(message({"value": 1, "timestamp": at, "dedupe_id": f"t-{i}"}) for i, at in enumerate(TIMES)),
        *(message({"value": 1}, (one * 64)[:64], (one * 64)[:64]) for one in CHARACTERS),
        *(
            message({"value": 1, "dedupe_id": (f"{i:03}" + one * 128)[:128]})
            for i, one in enumerate(CHARACTERS)
        ),
    ]


@from_handoff
async def test_what_is_just_within_the_limits_becomes_a_row_on_every_database(
    open_bench: OpenBench, way: Way
) -> None:
    metrics = accepted(at_the_limits())
    assert len(metrics) == len(at_the_limits())
    async with open_bench(way) as bench:
        await bench.push(*metrics)
        await bench.work()
        seen = await bench.look()
    assert (seen.failed, seen.queue, len(seen.messages)) == ([], {}, 1)
    assert {told(row) for row in seen.rows} == {
        (m["dedupe_id"], m["agent_id"], m["metric_name"], m["timestamp"]) for m in metrics
    }
    values = {row.dedupe_id: row.value for row in seen.rows}
    for metric in metrics:
        # MariaDB keeps four decimals, and PHP hands on 14 digits.
        assert values[metric["dedupe_id"]] == pytest.approx(metric["value"], rel=1e-13, abs=5.1e-5)


def told(row: Row) -> tuple[object, ...]:
    return row.dedupe_id, row.agent_id, row.metric_name, f"{row.timestamp:%Y-%m-%d %H:%M:%S.%f}"


def beyond_the_limits() -> list[tuple[str, Message]]:
    values = [10**12, "-1e12", 1e308, math.nextafter(1e12, 0), 999_999_999_999.995, "-999999999999.9999"]
    times = [
        "1970-01-01 00:00:00.999999",
        0,
        "2038-01-19 03:14:08",
        "2038-01-19T02:14:08-01:00",
        2_147_483_648,
    ]
    return [
        *(("value_out_of_range", message({"value": value})) for value in values),
        *(("timestamp_out_of_range", message({"value": 1, "timestamp": at})) for at in times),
        ("agent_id_invalid", message({"value": 1}, agent_id="\U0001f321" * 65)),
        ("metric_name_invalid", message({"value": 1}, metric_name="a" * 65)),
        ("dedupe_id_invalid", message({"value": 1, "dedupe_id": "é" * 129})),
    ]


def test_what_is_just_beyond_the_limits_is_rejected() -> None:
    reasons, messages = zip(*beyond_the_limits(), strict=True)
    found = [judged(sent) for sent in messages]
    assert [getattr(rejection, "reason", None) for rejection in found] == list(reasons)


@from_handoff
async def test_whatever_is_accepted_of_what_fuzzing_sends_fails_no_job_and_is_published_byte_for_byte(
    open_bench: OpenBench, way: Way
) -> None:
    metrics = fuzzed()
    assert len(metrics) > 1_000
    jobs = [metrics[first : first + 500] for first in range(0, len(metrics), 500)]
    async with open_bench(way) as bench:
        for job in jobs:
            await bench.push(*job)
        await bench.work(len(jobs))
        seen = await bench.look()
    assert (seen.failed, seen.queue) == ([], {})
    assert seen.messages == [publication.encode([JobMetric(**metric) for metric in job]) for job in jobs]


def fuzzed() -> list[Metric]:
    """Return what is accepted of 10,000 publications near what is valid, each dedupe id once."""
    chance = random.Random(6)  # noqa: S311 - the same each time
    built = [publications.built(Source(chance.randbytes(64))) for _ in range(8_000)]
    near = [
        Message(topic, payload.decode(errors="replace"), received_at=RECEIVED_AT, qos=1)
        for topic, payload in built
    ]
    metrics = accepted([*near, *(drawn(chance) for _ in range(2_000))])
    return list({metric["dedupe_id"] or place: metric for place, metric in enumerate(metrics)}.values())


def drawn(chance: random.Random) -> Message:
    """Return a publication with any names, any number and any time."""
    value = chance.choice(
        [
            chance.randint(-(10**12), 10**12),
            chance.uniform(-1e12, 1e12),
            round(chance.uniform(-1e6, 1e6), chance.randrange(7)),
            struct.unpack(">d", chance.randbytes(8))[0],
        ]
    )
    time = chance.choice([None, chance.randint(1, 2**31), chance.randint(10**12, 2**31 * 1_000)])
    payload = {"value": value, "timestamp": time, "dedupe_id": text(chance, 128)}
    topic = f"metrics/{TENANT}/{text(chance, 64)}/{text(chance, 64)}"
    return Message(topic, json.dumps(payload), received_at=RECEIVED_AT, qos=1)


def text(chance: random.Random, longest: int) -> str:
    """Return a text of letters and of one further script or plane, whatever there is in it."""
    last = chance.choice([0x7F, 0x250, 0x3000, 0x110000])
    letters = [chance.choice([chance.randrange(0x20, last), ord("a")]) for _ in range(longest)]
    return "".join(map(chr, letters[: chance.randint(1, longest)]))
