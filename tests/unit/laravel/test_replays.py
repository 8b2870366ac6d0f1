"""Which chunks handoff passes over: those of which memory or the log shows that they were handed off."""

import logging

import pytest

from streams.counters import Statistics
from streams.errors import Outage
from streams.laravel.replays import REMEMBERED, ChunkId, Replays
from streams.wire.decision import digest
from tests.unit.known_logs import PARTITION, UNIQUE, Logs, values


class Scene:
    """Replays over logs of `count` records, of which handoff stands behind all."""

    def __init__(self, count: int = 0) -> None:
        self.logs, self.statistics = Logs(), Statistics()
        self.logs.carry(*values(count))
        self.replays = Replays(self.logs.histories, self.statistics, UNIQUE)

    async def restart(self) -> None:
        end = len(self.logs.unique)
        await self.replays.restart(PARTITION, await self.logs.histories.emitted(PARTITION, end))

    def chunk(self, raw_offset: int, epoch: int = 1) -> ChunkId:
        return ChunkId(epoch, raw_offset, digest(self.logs.raw[raw_offset].value))

    async def is_proved(self, chunk: ChunkId) -> bool:
        return await self.replays.is_proved(PARTITION, chunk, len(self.logs.unique))

    @property
    def unproved(self) -> int:
        return self.statistics.notes["unproved_replays"]


async def test_to_a_worker_that_has_handed_off_nothing_everything_is_new() -> None:
    scene = Scene(3)
    assert not await scene.is_proved(scene.chunk(0))
    assert not scene.replays.is_behind(PARTITION, 0)
    assert not scene.unproved


@pytest.mark.parametrize("raw_offset", [0, 100, 240, 299])
async def test_what_the_log_shows_is_a_replay_in_its_tail_and_far_before_it(raw_offset: int) -> None:
    scene = Scene(300)
    await scene.restart()
    assert await scene.is_proved(scene.chunk(raw_offset))
    assert not scene.unproved


async def test_what_was_noted_is_a_replay_without_a_look_at_the_log() -> None:
    scene = Scene(3)
    scene.replays.note(PARTITION, scene.chunk(1), 1)
    scene.logs.reader.away = True
    assert await scene.is_proved(scene.chunk(1))
    assert not await scene.is_proved(scene.chunk(2))


async def test_what_memory_has_forgotten_is_found_in_the_log() -> None:
    scene = Scene(REMEMBERED + 20)
    for offset in range(REMEMBERED + 20):
        scene.replays.note(PARTITION, scene.chunk(offset), offset)
    assert await scene.is_proved(scene.chunk(3))
    scene.logs.reader.away = True
    assert await scene.is_proved(scene.chunk(20))
    with pytest.raises(Outage):
        await scene.is_proved(scene.chunk(3))


async def test_the_next_raw_offset_and_a_new_epoch_are_no_replays() -> None:
    scene = Scene(10)
    await scene.restart()
    assert not await scene.is_proved(ChunkId(1, 10, b"8 bytes."))
    assert not await scene.is_proved(scene.chunk(0, epoch=2))
    assert not scene.unproved


@pytest.mark.parametrize("raw_offset", [4, 299])
async def test_the_same_place_with_another_digest_is_no_replay(raw_offset: int) -> None:
    """The fence stands where it does, and Kafka was set back: what comes at a lower offset is new."""
    scene = Scene(300)
    await scene.restart()
    assert not await scene.is_proved(ChunkId(1, raw_offset, b"another."))


async def test_a_lower_offset_alone_proves_nothing_and_is_told_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(3)
    scene.logs.write_raw(*values(10, "b"))
    scene.logs.emit(9, 12)
    await scene.restart()
    with caplog.at_level(logging.ERROR):
        assert not await scene.is_proved(scene.chunk(11))
    assert scene.unproved == 1
    assert "raw offset 11 comes behind 12" in caplog.text


async def test_an_old_epoch_whose_chunk_the_log_does_not_have_is_handed_off_and_counted() -> None:
    scene = Scene(5)
    scene.logs.emit(0, epoch=2)
    await scene.restart()
    assert not await scene.is_proved(ChunkId(1, 7, b"8 bytes."))
    assert scene.unproved == 1


@pytest.mark.parametrize("noted", [b"8 bytes.", b""])
@pytest.mark.parametrize("again", [b"8 bytes.", b""])
async def test_a_chunk_of_an_older_version_which_has_no_digest_is_believed(
    noted: bytes, again: bytes
) -> None:
    scene = Scene()
    scene.replays.note(PARTITION, ChunkId(1, 5, noted), 5)
    assert await scene.is_proved(ChunkId(1, 5, again))


async def test_a_partition_that_is_placed_anew_forgets_what_it_knew() -> None:
    scene = Scene(3)
    scene.replays.note(PARTITION, ChunkId(1, 700, b"8 bytes."), 900)
    await scene.restart()
    assert not scene.replays.is_behind(PARTITION, 3)
    assert not await scene.is_proved(ChunkId(1, 700, b"8 bytes."))
    assert not scene.unproved


async def test_a_record_at_or_behind_which_one_was_handed_off_is_behind() -> None:
    scene = Scene(3)
    scene.replays.note(PARTITION, scene.chunk(1), 1)
    assert [scene.replays.is_behind(PARTITION, offset) for offset in range(4)] == [True, True, False, False]
    assert not scene.replays.is_behind(PARTITION + 1, 0)


@pytest.mark.parametrize("by", ["memory", "the log"])
async def test_where_refine_has_gone_back_what_was_handed_off_before_that_proves_nothing(by: str) -> None:
    scene = Scene()
    scene.logs.write_raw(*values(300))
    order = [299, *range(100, 299)]
    scene.logs.emit(*order)
    if by == "the log":
        await scene.restart()
    else:
        for at, raw_offset in enumerate(order):
            scene.replays.note(PARTITION, scene.chunk(raw_offset), at)
    assert not await scene.is_proved(scene.chunk(299))
    assert await scene.is_proved(scene.chunk(150))


async def test_after_a_restart_the_place_to_which_refine_has_gone_back_is_found_in_the_tail() -> None:
    scene = Scene()
    scene.logs.write_raw(*values(300))
    scene.logs.emit(*range(100), 299, *range(90, 120))
    await scene.restart()
    assert await scene.is_proved(scene.chunk(95))
    assert not await scene.is_proved(scene.chunk(299))


async def test_after_a_restart_what_a_frozen_worker_has_emitted_again_is_no_going_back() -> None:
    scene = Scene(300)
    scene.logs.emit(*range(150, 160))
    await scene.restart()
    assert await scene.is_proved(scene.chunk(299))
    assert await scene.is_proved(scene.chunk(155))
    assert not scene.unproved
