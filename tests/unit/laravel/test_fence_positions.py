"""Where handoff resumes: behind the fence if the log bears it out, else at the last place in common."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.counters import Statistics
from streams.errors import NewerFormat, Outage, StartupRefused
from streams.kafka.positions import Position
from streams.laravel.fence import Fence
from streams.laravel.fence_positions import FencePositions
from streams.laravel.push import ChunkOfJobs, Push
from streams.laravel.replays import ChunkId, Replays
from streams.laravel.testing import FakeJobQueue, FakeRedis
from streams.wire.decision import digest
from tests.unit.known_logs import PARTITION, UNIQUE, Logs, values

REWIND_S = 60.0


class Scene:
    """A Redis, both logs, and workers of handoff."""

    def __init__(self) -> None:
        self.logs, self.redis, self.statistics = Logs(), FakeRedis(), Statistics()
        self.committed = True
        self.take_over()

    def take_over(self) -> None:
        """Go on as another worker, which knows nothing."""
        self.queue = FakeJobQueue(redis=self.redis)
        self.replays = Replays(self.logs.histories, self.statistics, UNIQUE)
        self.positions = FencePositions(
            self.queue,
            self.logs.histories,
            self.logs.reader,
            self.replays,
            self.statistics,
            topic=UNIQUE,
            rewind_s=REWIND_S,
            was_committed=lambda _partition: self.committed,
        )

    async def position(self) -> Position:
        return await self.positions.position(PARTITION, await self.logs.range(UNIQUE))

    async def hand_off_rest(self) -> int:
        """Place the partition and push record by record up to the end; return how many were pushed."""
        at = (await self.position()).offset
        for record in self.logs.unique[at:]:
            (found,) = await self.logs.histories.emitted(PARTITION, record.offset + 1, count=1)
            fence = Fence(found.epoch, found.raw_offset, found.offset, found.digest, found.link)
            assert await self.queue.push(PARTITION, [ChunkOfJobs(fence, [])]) is Push.PUSHED
        return len(self.logs.unique) - at

    def fence(self, text: str, proof: str | None = None) -> None:
        self.redis.fences[str(PARTITION)] = text
        self.redis.fences.pop(f"{PARTITION}:proof", None)
        if proof is not None:
            self.redis.fences[f"{PARTITION}:proof"] = proof

    @property
    def set_back(self) -> int:
        return self.statistics.notes["positions_set_back"]


async def test_at_its_first_start_handoff_begins_at_the_start_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.logs.carry(*values(3))
    scene.committed = False
    assert await scene.position() == Position(0)
    assert not caplog.records


@pytest.mark.parametrize("kept", [0, 25])
async def test_which_chunk_was_pushed_of_a_log_that_is_gone_is_noted_before_handoff_moves_on(
    kept: int,
) -> None:
    """Refine may look later, and must find it."""
    scene = await scene_of(40)
    pushed = await scene.queue.fence(PARTITION)
    del scene.logs.unique[kept:], scene.logs.raw[kept:]
    scene.logs.carry(*values(1, "b"))
    await scene.hand_off_rest()
    assert pushed is not None
    found = await scene.queue.fence(PARTITION)
    assert found == Fence(pushed.epoch, pushed.raw_offset, pushed.unique_offset, pushed.digest)


async def scene_of(count: int) -> Scene:
    """Return a scene in which so many chunks were handed off."""
    scene = Scene()
    scene.logs.carry(*values(count))
    assert await scene.hand_off_rest() == count
    scene.take_over()
    return scene


async def test_a_fence_that_the_log_bears_out_is_the_position_and_its_record_the_anchor() -> None:
    scene = await scene_of(20)
    scene.logs.carry(*values(3, "b"))
    assert await scene.position() == Position(20, scene.logs.unique[19].anchor)
    assert not scene.set_back


async def test_what_another_worker_has_pushed_since_the_log_was_measured_is_no_log_that_went_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(20)
    measured = await scene.logs.range(UNIQUE)
    scene.logs.carry(*values(30, "b"))
    assert await scene.hand_off_rest() == 30
    scene.take_over()
    caplog.clear()
    position = await scene.positions.position(PARTITION, measured)
    assert position == Position(50, scene.logs.unique[49].anchor)
    assert not scene.set_back
    assert not caplog.records


async def test_the_chunks_before_the_position_are_known_as_replays() -> None:
    scene = await scene_of(20)
    await scene.position()
    scene.logs.reader.away = True
    chunk = ChunkId(1, 7, digest(scene.logs.raw[7].value))
    assert await scene.replays.is_proved(PARTITION, chunk, 20)


async def test_in_a_log_that_was_set_back_and_is_shorter_the_last_common_place_is_the_position(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(200)
    del scene.logs.unique[150:]
    with caplog.at_level(logging.ERROR):
        at = (await scene.position()).offset
    assert 100 <= at <= 150  # of the 50 that are missing no more than as many again
    assert scene.set_back == 1
    assert "is not the log that the fence 1:199:199 in Redis is about" in caplog.text


@given(st.integers(1, 400), st.integers(0, 400), st.integers(0, 60))
async def test_whatever_was_lost_and_has_grown_since_nothing_is_left_out_and_little_done_again(
    pushed: int, kept: int, since: int
) -> None:
    kept = min(kept, pushed)
    scene = await scene_of(pushed)
    del scene.logs.unique[kept:], scene.logs.raw[kept:]
    scene.logs.carry(*values(since, "b"), epoch=2)
    at = (await scene.position()).offset
    assert at <= kept
    lost = pushed - kept
    assert kept - at <= 2 * (lost + 16) if lost else at == kept
    assert bool(scene.set_back) is bool(lost)


async def test_what_is_left_of_the_last_writer_is_not_pushed_again_behind_later_values_that_are_lost() -> (
    None
):
    """Else a row would get back the value of a job that comes again, and the later one never does."""
    scene = await scene_of(200)
    del scene.logs.unique[150:], scene.logs.raw[150:]
    assert (await scene.position()).offset == 150


@pytest.mark.parametrize("writer", ["aa", "bb"])
async def test_what_the_last_writer_or_another_one_puts_there_later_is_pushed(writer: str) -> None:
    scene = await scene_of(200)
    del scene.logs.unique[150:], scene.logs.raw[150:]
    scene.logs.carry(*values(60, "b"), writer=writer)
    assert (await scene.position()).offset == 150


async def test_of_an_earlier_writer_what_a_mark_names_was_pushed_and_no_more() -> None:
    scene = Scene()
    for writer in ("bb", "aa"):
        scene.logs.carry(*values(100, writer), writer=writer)
    await scene.hand_off_rest()
    scene.take_over()
    del scene.logs.unique[99:], scene.logs.raw[99:]
    assert 70 <= (await scene.position()).offset <= 99
    scene.logs.carry(b"by a worker that has the partition again", writer="bb")
    assert 70 <= (await scene.position()).offset <= 99


async def test_in_a_log_that_was_made_anew_handoff_begins_at_its_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(40)
    scene.logs.unique.clear()
    scene.logs.raw.clear()
    scene.logs.carry(*values(60, "b"), epoch=2)
    assert await scene.position() == Position(0, None)
    assert "nothing in common" in caplog.text
    assert scene.set_back == 1


async def test_in_a_log_that_was_made_anew_and_is_empty_handoff_begins_at_its_start() -> None:
    scene = await scene_of(40)
    scene.logs.unique.clear()
    assert await scene.position() == Position(0, None)
    assert scene.set_back == 1


async def test_what_is_pushed_after_going_back_is_the_new_fence_and_is_proved() -> None:
    scene = await scene_of(200)
    del scene.logs.unique[150:], scene.logs.raw[150:]
    scene.logs.carry(*values(100, "b"), epoch=2)
    await scene.hand_off_rest()
    scene.take_over()
    assert await scene.position() == Position(250, scene.logs.unique[249].anchor)
    assert scene.set_back == 1


async def test_when_a_log_comes_forward_again_what_was_pushed_of_it_is_known() -> None:
    """Two Kafkas in turn with one Redis: each is known again by what lies in it."""
    scene = await scene_of(200)
    first = list(scene.logs.unique)
    del scene.logs.unique[100:], scene.logs.raw[100:]
    scene.logs.carry(*values(5, "b"), epoch=2)
    await scene.hand_off_rest()
    scene.take_over()
    scene.logs.unique[:] = first
    assert 50 <= (await scene.position()).offset <= 200


async def test_the_same_numbers_with_another_digest_are_not_borne_out() -> None:
    scene = await scene_of(20)
    scene.logs.raw.clear()
    scene.logs.unique.clear()
    scene.logs.carry(*values(30, "b"))
    assert (await scene.position()).offset == 0


async def test_a_fence_of_an_older_version_without_a_digest_is_believed_by_its_numbers() -> None:
    scene = Scene()
    scene.logs.carry(*values(20))
    scene.fence("1:9:9")
    assert (await scene.position()).offset == 10
    scene.fence("1:8:9")
    assert (await scene.position()).offset == 0
    assert scene.set_back == 1


async def test_a_fence_is_believed_by_its_numbers_where_an_older_version_has_emitted_the_record() -> None:
    scene = Scene()
    scene.logs.write_raw(*values(3))
    scene.logs.emit(0, 1, 2, digests=False)
    scene.fence("1:1:1", "1;5;1;8c1f2a9e00d4b7f3")
    assert (await scene.position()).offset == 2


async def test_what_an_older_version_has_pushed_in_between_is_known_by_its_numbers() -> None:
    scene = await scene_of(20)
    scene.logs.carry(*values(5, "b"))
    scene.redis.fences[str(PARTITION)] = "1:22:22"  # it leaves proof and locator as they were
    assert (await scene.position()).offset == 23
    assert not scene.set_back


async def test_records_that_were_removed_before_they_were_handed_off_are_told_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(20)
    scene.logs.carry(*values(30, "b"))
    scene.logs.cut_unique(45)
    assert (await scene.position()).offset == 45
    assert scene.statistics.notes["records_cut"] == 25
    assert "from offset 20 up to 45 were removed before they were handed off" in caplog.text


@pytest.mark.parametrize("start", [20, 10])
async def test_to_remove_what_was_handed_off_is_no_loss(start: int) -> None:
    scene = await scene_of(20)
    scene.logs.carry(*values(3, "b"))
    scene.logs.cut_unique(start)
    assert (await scene.position()).offset == 20
    assert not scene.statistics.notes["records_cut"]
    assert not scene.set_back


async def test_a_log_of_which_all_was_handed_off_and_removed_is_gone_on_with() -> None:
    scene = await scene_of(20)
    scene.logs.cut_unique(20)
    assert await scene.position() == Position(20, None)
    assert not scene.statistics.notes["records_cut"]


@pytest.mark.parametrize("text", ["garbage", "", "-1:-5", "1:2:3x"])
async def test_a_fence_that_somebody_has_written_over_is_told_as_that(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    scene.logs.carry(*values(30))
    await scene.hand_off_rest()
    scene.redis.fences[str(PARTITION)] = text
    scene.take_over()
    await scene.position()
    [told] = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert "somebody has written to its hash" in told
    assert "Kafka was set back" not in told


async def test_where_the_fence_alone_is_gone_the_locator_tells_the_position() -> None:
    scene = await scene_of(100)
    scene.fence("")
    assert 60 <= (await scene.position()).offset <= 100
    assert scene.set_back == 1


async def test_without_any_fence_handoff_goes_back_by_a_bounded_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    for number, value in enumerate(values(200)):
        scene.logs.carry(value, at_ms=1_795_442_400_000 + 1_000 * number)
    with caplog.at_level(logging.WARNING):
        assert (await scene.position()).offset == 199 - int(REWIND_S)
    assert "is gone from Redis" in caplog.text


async def test_without_any_fence_a_log_that_is_younger_is_handed_off_from_its_start() -> None:
    scene = Scene()
    scene.logs.carry(*values(20), at_ms=1_795_442_400_000)
    assert (await scene.position()).offset == 0
    scene.logs.cut_unique(7)
    assert (await scene.position()).offset == 7


async def test_without_times_in_the_log_it_is_handed_off_from_its_start() -> None:
    scene = Scene()
    scene.logs.carry(*values(20), at_ms=0)
    assert (await scene.position()).offset == 0


async def test_at_the_first_start_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    assert await scene.position() == Position(0, None)
    scene.logs.cut_unique(9)
    assert await scene.position() == Position(9, None)
    assert not caplog.records


async def test_a_fence_of_a_newer_version_is_not_taken_for_none() -> None:
    scene = await scene_of(3)
    scene.fence("1:2:2", "2;of a later version")
    with pytest.raises(NewerFormat):
        await scene.position()


async def test_a_fence_of_another_group_is_refused_with_the_mend() -> None:
    scene = await scene_of(3)
    scene.redis.fences["owner"] = "another"
    with pytest.raises(StartupRefused, match="CONSUMER_GROUP=another"):
        await scene.position()


@pytest.mark.parametrize("part", ["redis", "kafka"])
async def test_while_a_part_is_away_no_position_is_told(part: str) -> None:
    scene = await scene_of(3)
    log_range = await scene.logs.range(UNIQUE)
    scene.redis.away, scene.logs.reader.away = part == "redis", part == "kafka"
    with pytest.raises(Outage, match=part):
        await scene.positions.position(PARTITION, log_range)
    scene.redis.away = scene.logs.reader.away = False
    assert (await scene.position()).offset == 3


async def test_a_position_holds_until_somebody_else_moves_the_fence() -> None:
    scene = await scene_of(3)
    await scene.position()
    assert await scene.positions.holds(PARTITION)
    snapshot = scene.redis.snapshot()
    await scene.queue.push(PARTITION, [ChunkOfJobs(Fence(1, 3, 3, b"8 bytes."), [])])
    assert await scene.positions.holds(PARTITION)
    scene.redis.restore(snapshot)
    assert not await scene.positions.holds(PARTITION)
    await scene.position()
    assert await scene.positions.holds(PARTITION)
    scene.redis.fences.clear()
    assert not await scene.positions.holds(PARTITION)


async def test_a_push_of_our_own_whose_answer_is_still_to_come_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await scene_of(3)
    await scene.position()
    answers, script = asyncio.Event(), scene.queue._script

    async def slow(*, keys: Any, args: Any) -> list[Any]:
        answer = await script(keys=keys, args=args)
        await answers.wait()
        return answer

    monkeypatch.setattr(scene.queue, "_script", slow)
    push = asyncio.create_task(scene.queue.push(PARTITION, [ChunkOfJobs(Fence(1, 3, 3, b"8 bytes."), [])]))
    await asyncio.sleep(0)
    assert scene.redis.fences[str(PARTITION)] == "1:3:3"
    assert await scene.positions.holds(PARTITION)
    answers.set()
    assert await push is Push.PUSHED
    assert await scene.positions.holds(PARTITION)
