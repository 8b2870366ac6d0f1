"""How the table drops decisions: in portions, the last decision before all others."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import tables.seen
from streams.application import build
from streams.errors import DeliveryFailed
from streams.kafka.producer import Outgoing
from streams.models import Origin
from streams.settings import Settings
from streams.wire.decision import FORMAT, Decision, decode_key
from tables.seen import TOMBSTONES_AT_ONCE, SeenTable
from tables.state import SeenState

DECISIONS = 2 * TOMBSTONES_AT_ONCE + 10


class Log:
    """Takes portions of tombstones, until it is told to fail at one."""

    def __init__(self) -> None:
        self.portions: list[list[Origin]] = []
        self.fail_at: int | None = None

    async def deliver(self, _app: Any, records: Sequence[Outgoing]) -> list[Any]:
        if len(self.portions) == self.fail_at:
            self.fail_at = None
            raise DeliveryFailed("changelog", "as the test wants it")
        assert all(record.value is None for record in records)
        self.portions.append([decode_key(record.key or b"") for record in records])
        return [SimpleNamespace()] * len(records)

    @property
    def offsets(self) -> list[int]:
        return [origin.offset for portion in self.portions for origin in portion]


@pytest.fixture
def changelog(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(tables.seen, "deliver", log.deliver)
    return log


@pytest.fixture
async def table() -> SeenTable:
    """Return a table that knows decisions about partition 3, and one about another."""
    memory = SeenState(window_s=3_600.0, max_ids=10**6)
    for partition, count in ((3, DECISIONS), (4, 1)):
        for offset in range(count):
            fingerprint = offset.to_bytes(16) + offset.to_bytes(8)
            decision = Decision(FORMAT, 7, 1.0, b"8 bytes.", [], [], fingerprint)
            memory.add(Origin(partition, offset), decision)
    return SeenTable(build(Settings()), memory=memory, name="seen of a test")


def held(table: SeenTable) -> list[int]:
    return list(table.memory.partition(3).offsets())


async def test_the_last_decision_goes_alone_and_the_others_in_portions(
    table: SeenTable, changelog: Log
) -> None:
    await table.drop_from(3, 0)
    assert [len(portion) for portion in changelog.portions] == [1, TOMBSTONES_AT_ONCE, TOMBSTONES_AT_ONCE, 9]
    assert changelog.offsets == list(reversed(range(DECISIONS)))
    assert held(table) == []
    assert table.memory.partition(3).epoch == 7  # the next one is to be above it, though no decision is left
    assert list(table.memory.partition(4).offsets()) == [0]


async def test_what_lies_before_stays(table: SeenTable, changelog: Log) -> None:
    await table.drop_from(3, DECISIONS - 20)
    assert [len(portion) for portion in changelog.portions] == [1, 19]
    assert held(table) == list(range(DECISIONS - 20))


async def test_of_a_drop_that_fails_what_is_left_is_dropped_at_the_next_try(
    table: SeenTable, changelog: Log
) -> None:
    changelog.fail_at = 2
    with pytest.raises(DeliveryFailed):
        await table.drop_from(3, 5)
    assert held(table) == list(range(DECISIONS - 1 - TOMBSTONES_AT_ONCE))
    assert table.memory.partition(3).last_offset is None
    await table.drop_from(3, 5)
    assert sorted(changelog.offsets) == list(range(5, DECISIONS))
    assert held(table) == list(range(5))


async def test_a_drop_of_all_that_fails_at_once_leaves_all_to_be_dropped(
    table: SeenTable, changelog: Log
) -> None:
    changelog.fail_at = 0
    with pytest.raises(DeliveryFailed):
        await table.drop_from(3, 0)
    assert held(table) == list(range(DECISIONS))
    assert table.memory.partition(3).last_offset == DECISIONS - 1
    await table.drop_from(3, 0)
    assert held(table) == []


async def test_where_nothing_is_to_be_dropped_nothing_is_sent(table: SeenTable, changelog: Log) -> None:
    await table.drop_from(3, DECISIONS)
    await table.drop_from(5, 0)
    assert changelog.portions == []
