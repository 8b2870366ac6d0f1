"""handoff: each chunk once, in order; proved replays move the fence alone, what is foreign nothing."""

import logging
from collections.abc import Callable
from functools import partial

import pytest

from agents.handoff import Handoff, job_names
from streams.counters import Statistics
from streams.errors import PositionMoved, QueueFull, StartupRefused
from streams.kafka.record_loop import Record
from streams.laravel.job import decode_job, encode_job
from streams.laravel.replays import ChunkId, Replays
from streams.laravel.testing import FakeJobQueue
from streams.models import Origin, Reading
from streams.timings import HANDOFF
from streams.wire import unique
from streams.wire.decision import digest
from tests.unit.known_logs import PARTITION, UNIQUE, Logs

NOW = 1_795_442_400.0
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def encoded(value: float, origin: Origin) -> bytes:
    reading = Reading(
        index=0,
        tenant_id=TENANT,
        agent_id="edge-1",
        metric_name="cpu",
        value=value,
        timestamp="2026-11-23 14:00:00.123456",
        dedupe_id=None,
        key="0f" * 16,
    )
    return unique.encode(origin, [reading])


def record(
    offset: int,
    *,
    value: float = 1,
    epoch: bytes = b"5",
    origin: Origin | None = None,
    raw: bytes | None = b"a chunk",
) -> Record:
    """Return a record of metrics.unique; without `raw` as an older version wrote it."""
    found = {"epoch": epoch} | ({} if raw is None else {"digest": digest(raw).hex().encode()})
    return Record(PARTITION, offset, encoded(value, origin or Origin(3, 100 + offset)), found)


def again(offset: int, of: Record) -> Record:
    """Return a record that refine has emitted once more."""
    return of._replace(offset=offset)


class Scene:
    """A worker of handoff between fakes."""

    def __init__(self, encode: Callable[..., bytes] = encode_job, max_jobs: int = 100) -> None:
        self.queue, self.statistics, self.logs = FakeJobQueue(max_jobs), Statistics(), Logs()
        self.replays = Replays(self.logs.histories, self.statistics, UNIQUE)
        self.handoff = Handoff(
            self.queue,
            self.replays,
            topic="metrics.unique",
            derive_ids=True,
            statistics=self.statistics,
            encode=encode,
            clock=lambda: NOW,
        )

    async def hand_off(self, *records: Record) -> None:
        await self.handoff.hand_off(records)

    def pushed(self) -> list[float]:
        return [decode_job(job).metrics[0].value for job in self.queue.jobs]

    @property
    def fence(self) -> str | None:
        return self.queue.redis.fences.get(str(PARTITION))


@pytest.mark.parametrize(
    "foreign",
    [
        Record(3, 1, b"rubbish", {}),
        record(1, epoch=b"soon"),
        record(1, epoch=b""),
        record(1, epoch=b"9" * 5000),
        record(1, value=2**63),
        record(1, origin=Origin(2, 10**6)),
        record(1, origin=Origin(3, -1)),
    ],
    ids=["rubbish", "epoch", "empty epoch", "long epoch", "number", "partition", "offset"],
)
async def test_what_is_no_chunk_of_ours_is_passed_over_and_those_around_it_are_handed_off(
    foreign: Record, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    await scene.hand_off(record(0))
    with caplog.at_level(logging.ERROR):
        await scene.hand_off(foreign)
    await scene.hand_off(record(2))
    assert len(scene.queue.jobs) == 2
    assert scene.fence == "5:102:2"
    assert [r.message for r in caplog.records if "offset 1 is no chunk of ours" in r.message]


async def test_what_is_no_chunk_of_ours_holds_up_nothing_that_is_taken_together_with_it() -> None:
    scene = Scene()
    await scene.hand_off(record(0, value=1), Record(3, 1, b"rubbish", {}), record(2, value=3))
    assert scene.pushed() == [1, 3]
    assert scene.fence == "5:102:2"


async def test_a_chunk_that_refine_emitted_again_moves_the_fence_and_pushes_nothing() -> None:
    scene = Scene()
    first = record(0)
    await scene.hand_off(first)
    await scene.hand_off(again(1, first))
    assert scene.pushed() == [1]
    assert scene.fence == "5:100:1"
    assert (scene.statistics.notes["chunks_replayed"], scene.statistics.messages["pushed"]) == (1, 1)
    assert not scene.statistics.notes["unproved_replays"]


async def test_a_chunk_that_stands_twice_among_those_taken_together_is_pushed_once() -> None:
    scene = Scene()
    first, second = record(0, value=1), record(1, value=2)
    await scene.hand_off(first, second, again(2, first), again(3, second), record(4, value=5))
    assert scene.pushed() == [1, 2, 5]
    assert scene.fence == "5:104:4"


async def test_another_chunk_at_a_raw_offset_that_was_handed_off_is_handed_off() -> None:
    """Kafka was set back and has grown again: the numbers are the same, what they stand for is not."""
    scene = Scene()
    await scene.hand_off(record(0, value=1))
    await scene.hand_off(record(1, value=2, origin=Origin(3, 100), raw=b"another"))
    assert scene.pushed() == [1, 2]


async def test_a_lower_raw_offset_that_nothing_shows_to_be_a_replay_is_handed_off_and_counted() -> None:
    scene = Scene()
    await scene.hand_off(record(0, value=1, origin=Origin(3, 900)))
    await scene.hand_off(record(1, value=2, origin=Origin(3, 10)))
    assert scene.pushed() == [1, 2]
    assert scene.statistics.notes["unproved_replays"] == 1


def in_turn(*raw_offsets: int) -> list[Record]:
    """Return records of metrics.unique that are about these raw offsets, each of which says its own."""
    return [
        record(at, value=raw_offset, origin=Origin(3, raw_offset), raw=b"%d" % raw_offset)
        for at, raw_offset in enumerate(raw_offsets)
    ]


@pytest.mark.parametrize("taken", [1, 3, 100], ids=lambda taken: f"{taken} at once")
async def test_where_refine_has_gone_back_all_behind_that_place_is_pushed_again_in_order(
    taken: int, caplog: pytest.LogCaptureFixture
) -> None:
    """metrics.unique was made anew; refine put a chunk there before it noticed, and began again then."""
    scene = Scene()
    records = in_turn(9, 5, 6, 7, 8, 9, 10)
    for start in range(0, len(records), taken):
        await scene.hand_off(*records[start : start + taken])
    assert scene.pushed() == [9, 5, 6, 7, 8, 9, 10]
    assert scene.statistics.notes["unproved_replays"] == 1
    assert len([one for one in caplog.records if "comes behind" in one.message]) == 1


async def test_what_lies_before_the_place_to_which_refine_has_gone_back_is_still_known() -> None:
    scene = Scene()
    await scene.hand_off(*in_turn(3, 4, 9, 5, 4, 6, 9))
    assert scene.pushed() == [3, 4, 9, 5, 6, 9]


async def test_a_new_epoch_is_not_held_back_by_the_offsets_of_the_old_one() -> None:
    scene = Scene()
    await scene.hand_off(record(0, value=1, epoch=b"1", origin=Origin(3, 1_000)))
    await scene.hand_off(record(1, value=2, epoch=b"2", origin=Origin(3, 0)))
    assert scene.pushed() == [1, 2]
    assert not scene.statistics.notes["unproved_replays"]


async def test_a_record_that_is_delivered_again_does_not_take_the_fence_back() -> None:
    scene = Scene()
    first, second = record(0, value=1), record(1, value=2)
    await scene.hand_off(first, second)
    await scene.hand_off(first)
    await scene.hand_off(second, record(2, value=3))
    assert scene.pushed() == [1, 2, 3]
    assert scene.fence == "5:102:2"


async def test_a_fence_that_moved_displaces_and_pushes_nothing() -> None:
    scene = Scene()
    await scene.hand_off(record(0))
    scene.queue.redis.fences[str(PARTITION)] = "5:99:0"
    with pytest.raises(PositionMoved, match="5:101:1"):
        await scene.hand_off(record(1))
    assert len(scene.queue.jobs) == 1
    assert not scene.replays.is_behind(PARTITION, 1)


async def test_a_full_queue_takes_the_chunk_when_there_is_room() -> None:
    scene = Scene(max_jobs=1)
    await scene.hand_off(record(0, value=1))
    with pytest.raises(QueueFull):
        await scene.hand_off(record(1, value=2))
    scene.queue.redis.jobs.clear()
    await scene.hand_off(record(1, value=2))
    assert scene.pushed() == [2]


async def test_a_replay_passes_by_a_full_queue() -> None:
    scene = Scene(max_jobs=1)
    first = record(0)
    await scene.hand_off(first)
    await scene.hand_off(again(1, first))
    assert scene.fence == "5:100:1"


async def test_a_fence_of_another_group_is_left_alone() -> None:
    scene = Scene()
    scene.queue.redis.fences["owner"] = "another"
    with pytest.raises(StartupRefused, match="CONSUMER_GROUP=another"):
        await scene.hand_off(record(0))
    assert not scene.queue.jobs


def test_a_jobs_names_are_the_same_whenever_it_is_asked_and_differ_for_any_other_chunk() -> None:
    chunk = ChunkId(5, 100, b"8 bytes.")
    names = job_names(3, chunk, TENANT)
    assert job_names(3, chunk, TENANT) == names
    others = [
        job_names(4, chunk, TENANT),
        job_names(3, chunk, "another"),
        *(
            job_names(3, other, TENANT)
            for other in (
                chunk._replace(epoch=6),
                chunk._replace(raw_offset=101),
                chunk._replace(digest=b"another."),
            )
        ),
    ]
    assert len({*others, names}) == len(others) + 1


async def test_a_job_names_the_classes_and_the_connection_of_the_application() -> None:
    encode = partial(encode_job, job_class=r"Acme\Ingest", model_class=r"Acme\Client", model_connection=None)
    scene = Scene(encode)
    await scene.hand_off(record(0))
    (job,) = scene.queue.jobs
    assert decode_job(job, job_class=r"Acme\Ingest").tenant_id == TENANT
    assert rb"s:5:\"class\";s:11:\"Acme\\Client\";" in job
    assert rb"s:10:\"connection\";N;" in job


async def test_the_way_from_the_arrival_to_the_job_is_timed_and_a_replay_is_not() -> None:
    scene = Scene()
    arrived = {"received_at": b"2026-11-23T13:59:58.500000Z"}
    first = record(0)
    first = first._replace(headers=first.headers | arrived)
    await scene.hand_off(first, record(1))
    latency = scene.statistics.timings.latency_s[HANDOFF]
    assert (latency.count, latency.total) == (1, 1.5)  # the other, of an older version, does not tell
    assert scene.statistics.timings.chunk_messages[HANDOFF].count == 2
    await scene.hand_off(again(2, first))
    assert latency.count == 1
