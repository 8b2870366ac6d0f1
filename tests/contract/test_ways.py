"""Whoever pushes a job and whoever works it, on every database: the same comes of it.

The fixture `tell` compares what each way leaves behind (rows, messages, the queue, failed jobs) with what
Laravel alone does. What stands below it says, in words of its own, that this is what was meant to happen.
"""

import json
from datetime import UTC, datetime

import pytest

from tests.contract.bench import NOW, Bench, Seen, metric
from tests.contract.conftest import Tell
from tests.contract.ways import every_way, from_laravel

ODD_TEXTS = [
    "cpu.usage.percent",
    "Ω \"quoted\" 'twice' \\ back\\\\slashed",
    "kühlhaus/ß & <b>%s</b>",
    "🌡🧊 \U0010ffff",
    "e\u0301 combined, \u202edirected\u202c, \u200bwithout width",
    "\u2028lines\u2029\r\n\ttabs\x7f\x1f",
    ';s:1:"a";}a:0:{}',
    "?, :name, $1, null, NULL, true",
    " spaces on both sides ",
    "\u65e5\u672c\u8a9e \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
]
NUMBERS = [
    0,
    -0.0,
    1,
    1.0,
    -1,
    42.17,
    0.1,
    100000.0,
    1e15 / 1e4,
    1.5e-7,
    -1e-5,
    123456789012,
    999_999_999_999,
    999_999_999_999.99,
    -999_999_999_999.99,
    5e-324,
]


async def odd_texts(bench: Bench) -> list[Seen]:
    await bench.push(
        *(metric(f"id {text}", agent_id=text, metric_name=f"m{text}") for text in ODD_TEXTS),
        *(metric(None, agent_id=text, metric_name=f"m{text}") for text in ODD_TEXTS),
    )
    await bench.work()
    return [await bench.look()]


@every_way
async def test_a_text_of_any_script_arrives_as_it_was_sent(tell: Tell) -> None:
    (seen,) = await tell(odd_texts)
    assert sorted(row.agent_id for row in seen.rows) == sorted(ODD_TEXTS * 2)
    assert {row.dedupe_id for row in seen.rows} == {None, *(f"id {text}" for text in ODD_TEXTS)}
    assert [[m["agent_id"] for m in json.loads(message)] for message in seen.messages] == [ODD_TEXTS * 2]
    assert (seen.queue, seen.failed) == ({}, [])


async def numbers(bench: Bench) -> list[Seen]:
    await bench.push(*(metric(f"d-{index:02}", value) for index, value in enumerate(NUMBERS)))
    await bench.work()
    return [await bench.look()]


@every_way
async def test_a_number_of_any_shape_arrives_as_it_was_sent(tell: Tell) -> None:
    (seen,) = await tell(numbers)
    assert [row.value for row in seen.rows] == pytest.approx(NUMBERS, abs=5e-5, rel=0)
    written = [part.partition(b',"timestamp"')[0] for part in seen.messages[0].split(b'"value":')[1:]]
    assert b" ".join(written) == (
        b"0 -0 1 1 -1 42.17 0.1 100000 100000000000 1.5e-7 -1.0e-5 123456789012 999999999999 "
        b"999999999999.99 -999999999999.99 5.0e-324"
    )


async def corrections(bench: Bench) -> list[Seen]:
    for value in (1, 2.5, 3):
        await bench.push(metric("once", value, agent_id=f"edge-{value}"), metric(f"d-{value}", value))
    await bench.work(3)
    first = await bench.look()
    await bench.push(metric("once", 4, metric_name="corrected", timestamp="2026-11-23 15:00:00.000000"))
    await bench.work()
    return [first, await bench.look()]


@every_way
async def test_the_last_write_of_a_dedupe_id_wins_across_jobs(tell: Tell) -> None:
    first, second = await tell(corrections)
    assert [(row.dedupe_id, row.agent_id, row.value) for row in first.rows] == [
        ("d-1", "edge-7", 1),
        ("d-2.5", "edge-7", 2.5),
        ("d-3", "edge-7", 3),
        ("once", "edge-3", 3),
    ]
    assert len(first.messages) == 3
    assert [(row.metric_name, row.value) for row in second.rows if row.dedupe_id == "once"] == [
        ("corrected", 4)
    ]


async def nameless_rows(bench: Bench) -> list[Seen]:
    for _ in range(2):
        await bench.push(metric(None, 1), metric(None, 1), metric("named", 2))
        await bench.work()
    return [await bench.look()]


@every_way
async def test_a_metric_without_an_id_is_a_new_row_each_time(tell: Tell) -> None:
    (seen,) = await tell(nameless_rows)
    assert [row.dedupe_id for row in seen.rows] == ["named", None, None, None, None]


async def a_thousand(bench: Bench) -> list[Seen]:
    await bench.push(*(metric(f"{i:03}" if i % 2 else None, i, metric_name=f"m{i}") for i in range(1_000)))
    await bench.work()
    return [await bench.look()]


@every_way
async def test_a_job_of_a_thousand_metrics_is_one_transaction_and_one_message(tell: Tell) -> None:
    (seen,) = await tell(a_thousand)
    assert len(seen.rows) == 1_000
    assert [[m["value"] for m in json.loads(message)] for message in seen.messages] == [list(range(1_000))]


async def an_empty_id(bench: Bench) -> list[Seen]:
    await bench.push(metric("", 1), metric("00", 2), metric("false", 3))
    await bench.work()
    return [await bench.look()]


@from_laravel
async def test_an_empty_id_is_inserted_as_it_is(tell: Tell) -> None:
    (seen,) = await tell(an_empty_id)
    assert sorted(str(row.dedupe_id) for row in seen.rows) == ["", "00", "false"]


async def times_left_open(bench: Bench) -> list[Seen]:
    missing = metric("missing")
    del missing["timestamp"]
    await bench.push(
        missing, metric("null", timestamp=None), metric("whole", timestamp="2026-11-23 14:00:00")
    )
    await bench.work()
    return [await bench.look()]


@from_laravel
async def test_a_metric_without_a_time_gets_that_of_its_job(tell: Tell) -> None:
    (seen,) = await tell(times_left_open)
    published = [m["timestamp"] for m in json.loads(seen.messages[0])]
    now = f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-%d %H:%M:%S.%f}"
    assert published == [now, now, "2026-11-23 14:00:00"]
    assert [row.timestamp for row in seen.rows] == [datetime.fromisoformat(time) for time in published]


async def numbers_as_text(bench: Bench) -> list[Seen]:
    texts = ["42.170", "7", "-0", "1e3", ".5", "5."]
    await bench.push(*(metric(f"d-{index}", text, agent_id=index) for index, text in enumerate(texts)))
    await bench.work()
    return [await bench.look()]


@from_laravel
async def test_text_and_numbers_that_stand_for_each_other_stay_so_in_the_message(tell: Tell) -> None:
    (seen,) = await tell(numbers_as_text)
    assert [row.value for row in seen.rows] == [42.17, 7, 0, 1000, 0.5, 5]
    assert [row.agent_id for row in seen.rows] == ["0", "1", "2", "3", "4", "5"]
    published = [(m["agent_id"], m["value"]) for m in json.loads(seen.messages[0])]
    assert published == [(0, "42.170"), (1, "7"), (2, "-0"), (3, "1e3"), (4, ".5"), (5, "5.")]
