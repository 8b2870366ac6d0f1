"""Where refine resumes: at its decisions if both logs bear them out, else at the last place in common."""

import logging
from typing import Any, cast

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.counters import Statistics
from streams.errors import Outage, StartupRefused
from streams.kafka.positions import UNFINISHED_MOST, LogRange, Position
from streams.laravel.fence import Fence
from streams.models import Origin
from streams.wire.decision import FORMAT, NONE_EMITTED, Decision, Inherited, digest, encode
from tables.seen_positions import OwnersSay, SeenPositions
from tables.state import PartitionState
from tables.testing import FakeSeen
from tests.unit.known_logs import GROUP, PARTITION, RAW, UNIQUE, Logs, values


class Scene:
    """Both logs, the table, a fence's epoch, and workers of refine."""

    def __init__(self) -> None:
        self.logs, self.statistics, self.seen = Logs(), Statistics(), FakeSeen()
        self.fence: Fence | None = None
        self.redis_away, self.adopted = False, False
        self.last_emitted = NONE_EMITTED

    @property
    def state(self) -> PartitionState:
        return self.seen.memory.partition(PARTITION)

    @property
    def positions(self) -> SeenPositions:
        return SeenPositions(
            cast("Any", self.seen),
            self.logs.histories,
            self.statistics,
            raw_topic=RAW,
            unique_topic=UNIQUE,
            fence=self.fence_of,
            owners=OwnersSay(GROUP, self.is_adopted),
        )

    async def fence_of(self, partition: int) -> Fence | None:
        assert partition == PARTITION
        if self.redis_away:
            raise Outage("redis", "is away")
        return self.fence

    async def is_adopted(self) -> bool:
        return self.adopted

    async def refine(self, *some: bytes, emit: bool = True, unsettled: int = 0) -> None:
        """Take raw records through refine as it would: write, decide, emit."""
        for value in some:
            self.logs.write_raw(value)
            await self.decide(len(self.logs.raw) - 1, emit=emit, unsettled=unsettled)

    async def decide(self, offset: int, *, emit: bool = True, unsettled: int = 0) -> None:
        epoch = self.state.epoch or 1
        of = digest(self.logs.raw[offset].value)
        fingerprint = offset.to_bytes(16) + offset.to_bytes(8)
        decision = Decision(
            FORMAT, epoch, 1.0, of, [], [], fingerprint, unsettled, last_emitted=self.state.last_emitted
        )
        await self.seen.record([(Origin(PARTITION, offset), decision)])
        if emit:
            self.logs.emit(offset, epoch=epoch)
            self.state.emitted(offset, len(self.logs.unique) - 1)

    def take_over(self) -> None:
        """Go on as another worker, which has the changelog alone."""
        self.seen = self.seen.recovered()

    async def position(self) -> Position:
        return await self.positions.position(PARTITION, await self.logs.range(RAW))

    def held(self) -> list[int]:
        return sorted(self.seen.recovered().memory.partition(PARTITION).offsets())

    @property
    def set_back(self) -> int:
        return self.statistics.notes["positions_set_back"]

    def anchored(self, offset: int) -> Position:
        return Position(offset, self.logs.raw[offset - 1].anchor)


async def scene_of(count: int) -> Scene:
    """Return a scene in which so many chunks were refined, before a new worker."""
    scene = Scene()
    await scene.refine(*values(count))
    scene.take_over()
    return scene


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_at_the_first_start_refine_begins_at_the_start_in_the_first_epoch_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    assert await scene.position() == Position(0)
    assert scene.state.epoch == 1
    assert not caplog.records


async def test_what_ingress_wrote_before_refine_first_looked_is_read_from_its_start_and_nothing_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.logs.write_raw(*values(3))
    assert await scene.position() == Position(0)
    assert not caplog.records


async def test_records_that_were_removed_before_any_was_decided_on_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.logs.write_raw(*values(3))
    scene.logs.cut_raw(2)
    assert (await scene.position()).offset == 2
    assert "no decision in the table: refine begins at offset 2" in caplog.text


async def test_refine_resumes_at_its_last_decision_which_may_not_have_been_emitted() -> None:
    scene = await scene_of(20)
    assert await scene.position() == scene.anchored(19)
    assert not scene.set_back
    assert scene.held() == list(range(20))


async def test_what_was_decided_since_the_log_was_measured_is_no_log_that_went_back() -> None:
    scene = await scene_of(20)
    measured = await scene.logs.range(RAW)
    await scene.refine(*values(3, "b"))
    assert await scene.positions.position(PARTITION, measured) == scene.anchored(22)
    assert not scene.set_back


async def test_a_broker_that_tells_late_of_what_it_has_is_not_taken_for_one_that_was_set_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    await scene.refine(*values(20))
    for topic in (RAW, UNIQUE):
        scene.logs.reader.late[TP(topic, PARTITION)] = 3
        assert await scene.positions.holds(PARTITION)
        scene.logs.reader.late[TP(topic, PARTITION)] = 3
        assert await scene.position() == scene.anchored(19)
    assert (scene.set_back, caplog.messages) == (0, [])


async def test_one_that_goes_on_telling_of_less_was_set_back() -> None:
    scene = Scene()
    await scene.refine(*values(20))
    scene.logs.reader.late[TP(UNIQUE, PARTITION)] = 1_000
    assert not await scene.positions.holds(PARTITION)
    await scene.position()
    assert scene.set_back == 1


class Landing:
    """Lets a chunk that is on its way to metrics.unique land right after that log was measured."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self._scene = scene
        self._measure = scene.logs.histories.unique_range
        self._on_its_way = 1
        monkeypatch.setattr(scene.logs.histories, "unique_range", self.unique_range)

    async def unique_range(self, partition: int, at_least: int = 0) -> LogRange:
        measured = await self._measure(partition, at_least)
        if self._on_its_way:
            self._on_its_way = 0
            self._scene.logs.emit(len(self._scene.logs.raw) - 1)
            self._scene.state.emitted(len(self._scene.logs.raw) - 1, len(self._scene.logs.unique) - 1)
        return measured


async def test_what_lands_while_metrics_unique_is_measured_is_not_missed_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await scene_of(20)
    assert await scene.positions.holds(PARTITION)
    await scene.refine(b"one more", emit=False)
    Landing(scene, monkeypatch)
    assert await scene.positions.holds(PARTITION)


async def test_what_lands_while_refine_is_placed_is_not_missed_on_metrics_unique(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await scene_of(20)
    await scene.position()
    await scene.refine(b"one more", emit=False)
    Landing(scene, monkeypatch)
    assert (await scene.position()).offset == 20
    assert not scene.set_back
    assert await scene.positions.holds(PARTITION)


async def test_refine_resumes_at_the_first_of_the_decisions_that_were_made_together() -> None:
    scene = await scene_of(20)
    for unsettled in range(3):
        await scene.refine(b"together %d" % unsettled, emit=False, unsettled=unsettled)
    scene.take_over()
    assert await scene.position() == scene.anchored(20)
    assert not scene.set_back


async def test_a_decision_that_was_never_emitted_is_resumed_at() -> None:
    scene = await scene_of(20)
    await scene.refine(b"not emitted", emit=False)
    scene.take_over()
    assert await scene.position() == scene.anchored(20)
    assert not scene.set_back


async def test_chunks_of_which_nothing_was_accepted_leave_nothing_to_look_for() -> None:
    scene = Scene()
    await scene.refine(*values(30), emit=False)
    scene.take_over()
    assert await scene.position() == scene.anchored(29)
    await scene.refine(b"accepted")
    await scene.refine(*values(100, "refused"), emit=False)
    scene.take_over()
    assert await scene.position() == scene.anchored(130)
    assert not scene.set_back


async def test_a_raw_log_that_was_set_back_is_gone_on_with_behind_what_both_have_in_common(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(40)
    del scene.logs.raw[30:]
    assert await scene.position() == scene.anchored(30)
    assert (scene.set_back, scene.state.epoch, scene.held()) == (1, 2, list(range(30)))
    assert "the log ends at offset 30, but refine has decided on offset 39" in errors(caplog)[0]
    assert scene.state.seen((29).to_bytes(16), horizon=0) == (29).to_bytes(8)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 80))
async def test_however_far_a_raw_log_was_set_back_and_has_grown_since_just_what_is_new_is_decided_on(
    refined: int, kept: int, since: int
) -> None:
    kept = min(kept, refined)
    scene = await scene_of(refined)
    del scene.logs.raw[kept:]
    scene.logs.write_raw(*values(since, "b"))
    at = (await scene.position()).offset
    if kept == refined:
        assert (at, scene.set_back, scene.state.epoch) == (refined - 1, 0, 1)
    else:
        assert (at, scene.set_back, scene.state.epoch) == (kept, 1, 2)
        assert scene.held() == list(range(kept))


async def test_a_raw_log_that_was_made_anew_is_begun_with_in_a_new_epoch_whatever_its_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for length in (0, 5, 20, 50):
        caplog.clear()
        scene = await scene_of(20)
        scene.logs.raw.clear()
        scene.logs.write_raw(*values(length, "b"))
        assert await scene.position() == Position(0)
        assert (scene.state.epoch, scene.held(), scene.set_back) == (2, [], 1)
        assert len(errors(caplog)) == 1


async def test_once_it_is_settled_the_next_worker_finds_nothing_amiss() -> None:
    scene = await scene_of(40)
    del scene.logs.raw[30:]
    scene.logs.write_raw(*values(20, "b"))
    at = (await scene.position()).offset
    for offset in range(at, 50):
        await scene.decide(offset)
    scene.take_over()
    assert await scene.position() == scene.anchored(49)
    assert (scene.set_back, scene.state.epoch) == (1, 2)


@pytest.mark.parametrize(("tail_epoch", "fence_epoch", "expected"), [(1, 0, 2), (1, 7, 8), (9, 7, 10)])
async def test_a_new_epoch_is_above_all_that_any_part_has_seen(
    tail_epoch: int, fence_epoch: int, expected: int
) -> None:
    scene = await scene_of(20)
    scene.logs.emit(19, epoch=tail_epoch)
    scene.fence = Fence(fence_epoch, 19, 19)
    scene.logs.raw.clear()
    await scene.position()
    assert scene.state.epoch == expected


async def test_where_the_fences_epoch_cannot_be_told_none_begins_and_nothing_is_dropped() -> None:
    scene = await scene_of(20)
    scene.logs.raw.clear()
    scene.redis_away = True
    with pytest.raises(Outage, match="redis"):
        await scene.position()
    assert (scene.held(), scene.set_back) == (list(range(20)), 0)
    scene.redis_away = False
    assert await scene.position() == Position(0)


def fence_at(scene: Scene, raw_offset: int, *, proved: bool = True) -> Fence:
    """Return what handoff leaves behind a chunk that it has pushed."""
    of = digest(scene.logs.raw[raw_offset].value) if proved else b""
    return Fence(scene.state.epoch, raw_offset, raw_offset, of)


async def older_copy(count: int, kept: int) -> Scene:
    """Return a scene in which Kafka came back, in all its logs, with the first chunks alone."""
    scene = await scene_of(count)
    scene.fence = fence_at(scene, count - 1)
    older = await scene_of(kept)
    older.fence = scene.fence
    return older


@pytest.mark.parametrize("grown", [0, 1, 5, 30])
async def test_in_an_older_copy_that_lacks_what_was_pushed_no_id_is_known_any_more(
    grown: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The three logs are at one: only the fence tells that a later value may be in a row."""
    scene = await older_copy(40, 30)
    scene.logs.write_raw(*values(grown, "b"))
    assert await scene.position() == scene.anchored(29)  # of which not all may have been emitted
    assert (scene.state.epoch, scene.set_back, scene.state.ids, scene.held()) == (2, 1, 0, [])
    assert "jobs were pushed of raw offset 39, and another record is there, or none" in caplog.text


async def test_a_copy_of_raw_that_is_older_than_that_of_the_changelog_leaves_no_id_known_either() -> None:
    scene = await older_copy(40, 30)
    del scene.logs.raw[28:]
    await scene.position()
    assert scene.state.ids == 0
    scene.take_over()
    await scene.position()
    assert (scene.state.ids, scene.state.epoch) == (0, 2)


async def test_who_takes_over_before_anything_was_decided_begins_an_epoch_above_the_fences() -> None:
    scene = await older_copy(40, 30)
    await scene.position()
    scene.take_over()
    await scene.position()
    assert (scene.state.ids, scene.state.epoch) == (0, 2)


async def test_records_that_were_removed_are_counted_once_however_often_the_partition_is_placed() -> None:
    scene = await scene_of(10)
    scene.logs.write_raw(*values(10, "b"))
    scene.logs.cut_raw(15)
    positions, range_ = scene.positions, await scene.logs.range(RAW)
    for _ in range(2):
        assert (await positions.position(PARTITION, range_)).offset == 15
    assert scene.statistics.notes["records_cut"] == 5


async def test_that_is_said_once_also_while_handoff_is_not_there_yet() -> None:
    scene = await older_copy(40, 30)
    await scene.position()
    scene.logs.write_raw(*values(2, "b"))
    await scene.decide(30)
    await scene.decide(31)
    scene.take_over()
    assert await scene.position() == scene.anchored(31)
    assert (scene.state.epoch, scene.set_back) == (2, 1)
    assert await scene.positions.holds(PARTITION)


@pytest.mark.parametrize("proved", [True, False])
@pytest.mark.parametrize("at", [0, 20, 39])
async def test_a_fence_that_the_log_bears_out_changes_nothing(at: int, *, proved: bool) -> None:
    scene = await scene_of(40)
    scene.fence = fence_at(scene, at, proved=proved)
    assert await scene.position() == scene.anchored(39)
    assert (scene.set_back, scene.state.ids) == (0, 40)


async def test_of_a_fence_at_what_retention_has_removed_nothing_can_be_told() -> None:
    scene = await scene_of(40)
    scene.fence = fence_at(scene, 10)._replace(digest=b"another.")
    scene.logs.cut_raw(20)
    await scene.position()
    assert (scene.set_back, scene.state.ids) == (0, 40)


@pytest.mark.parametrize("is_older", [True, False])
async def test_where_the_fence_cannot_be_read_refine_goes_on_and_it_is_asked_for_again(
    *, is_older: bool
) -> None:
    scene = await older_copy(40, 30) if is_older else await scene_of(30)
    scene.redis_away = True
    positions = scene.positions
    range_ = await scene.logs.range(RAW)
    assert await positions.position(PARTITION, range_) == scene.anchored(29)
    with pytest.raises(Outage):
        await positions.holds(PARTITION)
    scene.redis_away = False
    assert await positions.holds(PARTITION) is not is_older
    if is_older:
        assert await positions.position(PARTITION, range_) == scene.anchored(29)
    assert await positions.holds(PARTITION)
    assert scene.state.ids == (0 if is_older else 30)


@pytest.mark.parametrize("decided_before", [0, 20])
async def test_an_epoch_in_which_nothing_was_decided_is_begun_again_as_a_new_worker_would(
    decided_before: int,
) -> None:
    scene = await scene_of(decided_before)
    scene.logs.raw.clear()
    scene.logs.unique.clear()
    epochs = []
    for _ in range(3):
        await scene.position()
        epochs.append(scene.state.epoch)
    scene.take_over()
    await scene.position()
    assert [*epochs, scene.state.epoch] == [2 if decided_before else 1] * 4


async def test_the_epoch_rises_also_where_the_decisions_were_dropped_and_nothing_was_decided_since() -> None:
    scene = await scene_of(20)
    scene.logs.raw.clear()
    await scene.position()
    scene.take_over()
    scene.logs.unique.clear()
    scene.fence = Fence(1, 19, 19)
    await scene.position()
    assert scene.state.epoch == 2


async def test_a_metrics_unique_that_lost_its_end_is_filled_again_in_the_same_epoch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(40)
    del scene.logs.unique[25:]
    assert await scene.position() == scene.anchored(25)
    assert (scene.state.epoch, scene.set_back, scene.held()) == (1, 1, list(range(25)))
    assert "no longer holds what refine has put there of raw offset 38" in errors(caplog)[0]


async def test_a_metrics_unique_that_was_made_anew_is_filled_from_the_start_of_the_raw_log() -> None:
    scene = await scene_of(40)
    scene.logs.unique.clear()
    scene.logs.cut_raw(5)
    assert await scene.position() == Position(5)
    assert (scene.state.epoch, scene.set_back) == (1, 1)
    assert scene.held() == [0, 1, 2, 3, 4]  # what they were about is gone from both logs


async def test_a_metrics_unique_whose_records_retention_has_removed_is_none_that_was_lost() -> None:
    scene = await scene_of(40)
    scene.logs.cut_unique(40)
    assert (await scene.position()).offset == 39
    assert not scene.set_back


async def test_a_gap_that_others_have_grown_over_is_gone_back_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(40)
    del scene.logs.unique[30:35]
    scene.logs.unique[30:] = [
        record._replace(offset=at) for at, record in enumerate(scene.logs.unique[30:], start=30)
    ]
    assert await scene.position() == scene.anchored(30)
    assert (scene.state.epoch, scene.set_back) == (1, 1)
    assert "lacks records before offset 30" in errors(caplog)[0]


async def test_a_worker_that_noticed_the_loss_when_it_emitted_goes_back_behind_what_is_left() -> None:
    scene = Scene()
    await scene.refine(*values(40))
    del scene.logs.unique[35:]
    await scene.refine(b"after the loss")  # lands at offset 35, which was taken
    assert scene.state.unique_lost_from == 35
    assert await scene.position() == scene.anchored(35)
    assert (scene.state.unique_lost_from, scene.set_back) == (None, 1)
    assert scene.held() == list(range(35))


async def test_a_position_holds_until_metrics_unique_is_shorter_than_what_was_put_there() -> None:
    scene = Scene()
    await scene.refine(*values(40))
    assert await scene.positions.holds(PARTITION)
    del scene.logs.unique[39:]
    assert not await scene.positions.holds(PARTITION)
    assert await scene.position() == scene.anchored(39)
    assert await scene.positions.holds(PARTITION)


async def test_a_loss_is_seen_behind_the_longer_numbers_of_an_older_epoch() -> None:
    """What was emitted of a log that is gone has no say in how far this one was emitted."""
    scene = await scene_of(40)
    scene.logs.raw.clear()
    scene.logs.write_raw(*values(10, "b"))
    await scene.position()
    for offset in range(10):
        await scene.decide(offset)
    scene.take_over()
    assert (await scene.position()).offset == 9
    scene.take_over()
    del scene.logs.unique[44:]
    assert await scene.position() == scene.anchored(4)
    assert scene.set_back == 2


async def test_records_that_were_removed_before_they_were_read_are_told_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(20)
    scene.logs.write_raw(*values(30, "b"))
    scene.logs.cut_raw(45)
    assert await scene.position() == Position(45)
    assert scene.statistics.notes["records_cut"] == 25
    assert "from offset 20 up to 45 were removed before refine had read them" in errors(caplog)[0]


@pytest.mark.parametrize("start", [10, 20])
async def test_to_remove_what_was_decided_on_is_no_loss(start: int) -> None:
    scene = await scene_of(20)
    scene.logs.write_raw(b"one more")
    scene.logs.cut_raw(start)
    assert (await scene.position()).offset == max(19, start)
    assert not scene.statistics.notes["records_cut"]
    assert not scene.set_back


async def test_without_decisions_metrics_unique_tells_the_position_and_the_epoch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = await scene_of(40)
    scene.seen = FakeSeen()
    assert await scene.position() == scene.anchored(40 - UNFINISHED_MOST)
    assert scene.state.epoch == 1
    assert "no decision in the table" in caplog.text
    assert "goes up to raw offset 39" in caplog.text


async def test_without_decisions_and_behind_what_is_in_common_a_new_epoch_begins() -> None:
    scene = await scene_of(40)
    scene.seen = FakeSeen()
    del scene.logs.raw[30:]
    assert (await scene.position()).offset == 30 - UNFINISHED_MOST
    assert scene.state.epoch == 2


async def test_without_decisions_and_with_nothing_in_common_the_log_is_begun_with_in_a_new_epoch() -> None:
    scene = await scene_of(40)
    scene.seen, scene.fence = FakeSeen(), Fence(4, 39, 39)
    scene.logs.raw.clear()
    scene.logs.write_raw(*values(50, "b"))
    scene.logs.cut_raw(7)
    assert (await scene.position()).offset == 7
    assert scene.state.epoch == 5


async def test_an_epoch_that_another_worker_has_begun_for_this_log_is_joined() -> None:
    """One that is slow to hear that the partition is not its own any more: both decide on the new log."""
    scene = await scene_of(40)
    scene.logs.raw.clear()
    scene.logs.write_raw(*values(3, "b"))
    other = Scene()
    other.logs, other.seen = scene.logs, scene.seen.recovered()
    assert (await other.position()).offset == 0
    assert other.state.epoch == 2
    await other.decide(0)
    assert (await scene.position()).offset == 1
    assert scene.state.epoch == 2


async def test_an_epoch_in_which_records_were_lost_is_not_gone_on_with() -> None:
    scene = await scene_of(40)
    del scene.logs.raw[30:], scene.logs.unique[30:]
    assert (await scene.position()).offset == 30
    assert scene.state.epoch == 2


async def test_what_could_not_be_dropped_is_dropped_at_the_next_try() -> None:
    scene = await scene_of(40)
    del scene.logs.raw[30:]
    scene.seen.away = True
    with pytest.raises(Outage):
        await scene.position()
    scene.seen.away = False
    assert await scene.position() == scene.anchored(30)
    assert (scene.held(), scene.state.epoch) == (list(range(30)), 2)


@pytest.mark.parametrize("after", [1, 2, 5, 9])
async def test_a_drop_that_was_cut_off_is_finished_by_the_next_worker_even_if_the_log_has_grown_since(
    after: int,
) -> None:
    scene = await scene_of(40)
    del scene.logs.raw[30:]
    rows = len(scene.seen.changelog)
    await scene.position()
    left = FakeSeen()
    left.recover(scene.seen.changelog[: rows + after])
    scene.seen = left
    scene.logs.write_raw(*values(100, "b"))
    assert (await scene.position()).offset <= 30
    assert max(scene.held()) < 30
    assert scene.state.epoch == 2


async def test_a_topic_that_another_group_writes_is_refused_with_the_mend_until_it_is_handed_over() -> None:
    scene = await scene_of(20)
    scene.logs.emit(19, group="another")
    with pytest.raises(StartupRefused, match="CONSUMER_GROUP=another"):
        await scene.position()
    scene.adopted = True
    assert (await scene.position()).offset == 19


@pytest.mark.parametrize("group", ["", GROUP])
async def test_a_topic_of_our_own_or_of_an_older_version_is_refused_to_nobody(group: str) -> None:
    scene = await scene_of(20)
    scene.logs.emit(19, group=group)
    assert (await scene.position()).offset == 19


async def test_while_kafka_is_away_no_position_is_told() -> None:
    scene = await scene_of(20)
    log_range = await scene.logs.range(RAW)
    scene.logs.reader.away = True
    with pytest.raises(Outage, match="kafka"):
        await scene.positions.position(PARTITION, log_range)
    with pytest.raises(Outage, match="kafka"):
        await scene.positions.holds(PARTITION)
    scene.logs.reader.away = False
    assert (await scene.position()).offset == 19


async def heir_of(scene: Scene, *ids: int, epoch: int) -> None:
    """Let the partition have inherited ids, each by a decision, from a lower one."""
    for offset, id_ in enumerate(ids):
        decision = Decision(FORMAT, epoch, 1.0, b"8 bytes.", [], [], id_.to_bytes(16) + b"contents")
        await scene.seen.append(Inherited(PARTITION, Origin(0, offset)), encode(decision))
    scene.take_over()


async def test_a_new_partition_begins_above_the_epoch_of_its_former_one_and_remembers_what_that_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    await heir_of(scene, 100, 101, epoch=6)
    for _ in range(2):  # a worker that has the changelog alone finds the same
        assert await scene.position() == Position(0)
        assert (scene.state.epoch, scene.state.ids) == (7, 2)
        assert not caplog.records
        scene.take_over()


async def test_it_goes_on_behind_its_own_decisions_with_what_it_has_inherited() -> None:
    scene = Scene()
    await heir_of(scene, 100, epoch=6)
    await scene.position()
    await scene.refine(*values(3))
    scene.take_over()
    assert await scene.position() == scene.anchored(2)
    assert (scene.state.epoch, scene.state.ids, scene.set_back) == (7, 4, 0)


async def test_where_a_log_is_gone_back_in_what_was_inherited_stays_known() -> None:
    scene = Scene()
    await heir_of(scene, 100, epoch=6)
    await scene.position()
    await scene.refine(*values(9))
    del scene.logs.unique[4:]
    scene.take_over()
    await scene.position()
    assert scene.set_back == 1
    assert scene.state.seen((100).to_bytes(16), 0.0) == b"contents"


@pytest.mark.parametrize("left", [0, 3])
async def test_in_an_older_copy_that_lacks_what_was_pushed_nothing_inherited_is_known_either(
    left: int,
) -> None:
    """What came since may have corrected it."""
    scene = Scene()
    await heir_of(scene, 100, epoch=6)
    before = list(scene.seen.changelog)
    await scene.position()
    await scene.refine(*values(9))
    scene.fence = fence_at(scene, 8)
    scene.seen.changelog[:] = [*before, *scene.seen.changelog[len(before) :][:left]]
    del scene.logs.raw[left:], scene.logs.unique[left:]
    scene.take_over()
    await scene.position()
    assert scene.state.ids == 0
    scene.take_over()
    assert scene.state.ids == 0
    await scene.position()
    assert scene.state.epoch == 8
