"""Where refine resumes: at its last decision, unless the log says that this cannot be one of its own."""

import logging
from typing import Any, cast

import pytest

from streams.errors import Outage
from streams.kafka.positions import LogRange
from streams.models import Origin
from streams.wire.decision import FORMAT, Decision
from tables.fake import FakeSeen
from tables.seen_positions import SeenPositions

LOG = LogRange(0, 100)


async def holding(*offsets: int) -> FakeSeen:
    seen = FakeSeen()
    for offset in offsets:
        fingerprint = offset.to_bytes(16) + offset.to_bytes(8)
        await seen.record([(Origin(3, offset), Decision(FORMAT, 1, 1.0, b"8 bytes.", [], [], fingerprint))])
    return seen


def positions(seen: FakeSeen) -> SeenPositions:
    return SeenPositions(cast("Any", seen), "site.raw")


def held(seen: FakeSeen) -> list[int]:
    return sorted(seen.recovered().memory.partition(3).offsets())


async def test_refine_resumes_at_its_last_decision() -> None:
    seen = await holding(97, 98)
    assert await positions(seen).position(3, LOG, 99) == 98
    assert await positions(seen).position(3, LogRange(98, 99), None) == 98


async def test_a_decision_about_what_retention_removed_is_passed() -> None:
    assert await positions(await holding(7)).position(3, LogRange(50, 100), 8) == 50


@pytest.mark.parametrize("committed", [None, 101, 99 + 2**62])
async def test_decisions_beyond_a_log_without_committed_offset_are_of_a_log_that_is_gone(
    committed: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    seen = await holding(7, 98, 100)
    assert await positions(seen).position(3, LOG, committed) == 0
    assert held(seen) == []
    assert "was recreated" in caplog.text


async def test_decisions_beyond_the_log_that_was_read_are_dropped_and_the_others_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = await holding(95, 96, 97, 98, 100, 10**6, 2**47)
    with caplog.at_level(logging.ERROR):
        assert await positions(seen).position(3, LOG, 98) == 98
        assert await positions(seen).position(3, LOG, 98) == 98
    assert held(seen) == [95, 96, 97]
    assert seen.memory.partition(3).seen((97).to_bytes(16), horizon=0) == (97).to_bytes(8)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


async def test_what_could_not_be_dropped_is_dropped_at_the_next_try() -> None:
    seen = await holding(97, 10**6)
    seen.away = True
    with pytest.raises(Outage):
        await positions(seen).position(3, LOG, 98)
    seen.away = False
    assert await positions(seen).position(3, LOG, 98) == 98
    assert held(seen) == [97]


async def cut_off(seen: FakeSeen, log_range: LogRange, committed: int | None, *, after: int) -> FakeSeen:
    """Return what the next worker finds when one has died after so many tombstones of a drop."""
    rows = len(seen.changelog)
    await positions(seen).position(3, log_range, committed)
    left = FakeSeen()
    left.recover(seen.changelog[: rows + after])
    return left


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_a_drop_of_decisions_about_a_log_that_is_gone_is_finished_by_the_next_worker(
    after: int,
) -> None:
    seen = await cut_off(await holding(2, 5, 7, 98), LogRange(0, 4), None, after=after)
    # By now the new log is longer than any offset that is left.
    assert await positions(seen).position(3, LOG, None) == 0
    assert held(seen) == []
    assert seen.memory.partition(3).known([(2).to_bytes(16)], horizon=0) == {}


@pytest.mark.parametrize("after", [1, 2])
async def test_a_drop_of_what_lies_beyond_the_log_is_finished_by_the_next_worker(after: int) -> None:
    seen = await cut_off(await holding(97, 98, 200, 300), LOG, 98, after=after)
    assert await positions(seen).position(3, LogRange(0, 1_000), 98) == 98
    assert held(seen) == [97]


async def test_a_drop_that_failed_in_the_middle_goes_on_at_the_next_try() -> None:
    seen = await holding(97, 200, 300)
    rows = len(seen.changelog)
    append = seen.append

    async def fail_at_the_second(origin: Origin, value: bytes | None) -> None:
        seen.away = len(seen.changelog) > rows
        await append(origin, value)

    seen.append = fail_at_the_second  # type: ignore[method-assign]
    with pytest.raises(Outage):
        await positions(seen).position(3, LOG, 98)
    seen.append, seen.away = append, False  # type: ignore[method-assign]
    assert await positions(seen).position(3, LOG, 98) == 98
    assert held(seen) == [97]
