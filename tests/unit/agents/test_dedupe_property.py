"""Dedupe changes nothing in the end: the rows are those of a plain upsert, in any order, with any repeats."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.examine import examine
from streams.models import Origin
from streams.wire import raw, unique
from tests.unit.agents.test_refine import Bench, chunk, message

Row = tuple[str, Any, str]

payloads = st.fixed_dictionaries(
    {"value": st.integers(0, 2)},
    optional={
        "dedupe_id": st.sampled_from(["a", "b", "0", 0, ""]),
        "timestamp": st.sampled_from(["2026-11-23T14:00:00Z", "2026-11-23T14:00:01Z"]),
    },
)


@dataclass
class Arrival:
    """What happens at one step: a chunk arrives, and then perhaps time passes or a worker is replaced."""

    payloads: list[dict[str, Any]] = field(default_factory=list)
    replay: bool = False
    restart: bool = False
    later_s: float = 0.0


arrivals = st.builds(
    Arrival,
    payloads=st.lists(payloads, min_size=1, max_size=4),
    replay=st.booleans(),
    restart=st.booleans(),
    later_s=st.sampled_from([0.0, 1.0, 3_000.0]),
)


def _row_id(reading: Any) -> str:
    return str(reading.dedupe_id or reading.key)


def _upsert(rows: dict[str, Row], readings: list[Any]) -> None:
    for reading in readings:
        rows[_row_id(reading)] = (reading.metric_name, float(reading.value), reading.timestamp)


async def _rows_with_dedupe(steps: list[Arrival]) -> dict[str, Row]:
    bench = Bench()
    for offset, step in enumerate(steps):
        record = chunk(*map(message, step.payloads), offset=offset)
        await bench.refinery().refine([record])
        if step.restart:
            bench.seen = bench.seen.recovered()
        if step.replay:
            await bench.refinery().refine([record])
        bench.now += step.later_s
    rows: dict[str, Row] = {}
    pushed = set()
    for record in bench.topics.all("metrics.unique"):
        found = unique.decode(record.value)
        if found.origin not in pushed:  # as the fence does
            pushed.add(found.origin)
            _upsert(rows, list(found.readings))
    return rows


def _rows_without_dedupe(steps: list[Arrival]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for offset, step in enumerate(steps):
        messages = raw.decode(raw.join([message(payload) for payload in step.payloads]))
        examined = examine(messages, Origin(3, offset), max_clock_skew_s=1e9)
        _upsert(rows, [candidate.reading for candidate in examined.candidates.values()])
    return rows


@settings(deadline=None)
@given(st.lists(arrivals, max_size=8))
def test_the_rows_are_those_of_a_plain_upsert(steps: list[Arrival]) -> None:
    assert asyncio.run(_rows_with_dedupe(steps)) == _rows_without_dedupe(steps)
