"""The lanes between the consumer and its agents: nobody waits behind a partition that stands still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from faust.types import TP

from streams.kafka.partition_buffers import CROWDED_BYTES, CROWDED_RECORDS, PartitionBuffers
from streams.kafka.positions import UNFINISHED_MOST, Cursor, Position
from tests.parts.eventually import eventually

A, B = TP("metrics.raw", 0), TP("metrics.unique", 0)


@dataclass
class Record:
    tp: TP
    offset: int
    value: bytes = b"{}"


@dataclass
class Agents:
    """Take what they are handed; what they finish is up to the test."""

    cursors: dict[TP, Cursor] = field(default_factory=dict)
    taken: dict[TP, list[int]] = field(default_factory=lambda: {A: [], B: []})
    gone: set[TP] = field(default_factory=set)

    def cursor(self, tp: TP) -> Cursor:
        return self.cursors.setdefault(tp, Cursor(0, 0, 0))

    async def hand(self, record: Record) -> None:
        if record.tp in self.gone:
            raise KeyError(record.tp)
        self.taken[record.tp].append(record.offset)


@asynccontextmanager
async def lanes(agents: Agents) -> AsyncIterator[PartitionBuffers]:
    made = PartitionBuffers(agents.hand, agents.cursor)
    yield made
    made.close()
    await asyncio.sleep(0)


async def test_a_partition_whose_agent_stands_still_keeps_no_other_waiting() -> None:
    agents = Agents()
    async with lanes(agents) as made:
        for offset in range(30):
            made.add(A, Record(A, offset))
        for offset in range(UNFINISHED_MOST):
            made.add(B, Record(B, offset))
        await eventually(lambda: agents.taken[B] == list(range(UNFINISHED_MOST)))
        assert agents.taken[A] == list(range(UNFINISHED_MOST))


async def test_what_an_agent_finishes_makes_room_for_the_next() -> None:
    agents = Agents()
    async with lanes(agents) as made:
        for offset in range(30):
            made.add(A, Record(A, offset))
        for offset in range(30):
            await eventually(lambda: len(agents.taken[A]) > offset)  # noqa: B023 - awaited within the turn
            agents.cursor(A).done(offset)
            made.room(A)
        assert agents.taken[A] == list(range(30))


async def test_a_lane_is_crowded_by_records_or_by_bytes_until_it_is_carried_on() -> None:
    agents = Agents()
    async with lanes(agents) as made:
        for offset in range(UNFINISHED_MOST + CROWDED_RECORDS - 1):
            made.add(A, Record(A, offset))
        await eventually(lambda: len(agents.taken[A]) == UNFINISHED_MOST)
        assert made.crowded() == set()
        made.add(A, Record(A, 99))
        assert made.crowded() == {A}
        made.clear(A)
        assert made.crowded() == set()
        made.add(A, Record(A, 0, b"x" * CROWDED_BYTES))
        assert made.crowded() == {A}


async def test_a_partition_that_is_another_workers_by_now_is_forgotten_and_may_come_back() -> None:
    agents = Agents(gone={A})
    async with lanes(agents) as made:
        for offset in range(CROWDED_RECORDS + 1):
            made.add(A, Record(A, offset))
        await eventually(lambda: not made.crowded())
        assert agents.taken[A] == []
        agents.gone.clear()
        agents.cursor(A).place(Position(5))
        made.add(A, Record(A, 5))
        await eventually(lambda: agents.taken[A] == [5])
