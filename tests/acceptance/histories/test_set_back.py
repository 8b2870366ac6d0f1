"""One part is set back, cut or made anew while the others go on: nothing is missing."""

import asyncio

import pytest

from tests.acceptance.histories.pipeline import Histories, page
from tests.parts.eventually import eventually
from tests.parts.worker import Worker


async def test_kafka_comes_back_with_an_older_copy_of_its_data(histories: Histories) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish_to_both(30))
    copy = histories.copy_of_kafka()
    await histories.arrive(await histories.publish_to_both(30))
    worker.stop()
    copy.restore()
    worker.start()
    await histories.arrive(await histories.publish_to_both(30))


@pytest.mark.parametrize(
    "runs", [True, pytest.param(False, marks=pytest.mark.long)], ids=["worker runs", "worker is stopped"]
)
async def test_an_earlier_value_that_a_device_sends_again_counts_when_kafka_has_forgotten_the_later_one(
    histories: Histories, *, runs: bool
) -> None:
    """The older copy is at one with itself: that more was pushed, the fence alone knows."""
    worker = histories.worker()
    (name,) = await histories.publish(1)
    for _ in range(40):  # so many pushes that the fence has a place in common with the older copy
        await histories.arrive(await histories.publish(1))
    copy = histories.copy_of_kafka()
    await histories.correct(name, 2)
    if runs:
        copy.restore()
    else:
        worker.stop()
        copy.restore()
        worker.start()
    await histories.correct(name, 1)
    assert (await histories.queued())[name] == 3


@pytest.mark.long
async def test_kafka_goes_back_twice_under_a_running_worker(histories: Histories) -> None:
    histories.worker()
    await histories.arrive(await histories.publish_to_both(10))
    copy = histories.copy_of_kafka()
    for _ in range(2):
        await histories.arrive(await histories.publish_to_both(30))
        copy.restore()
    await histories.arrive(await histories.publish_to_both(30))


@pytest.mark.long
async def test_after_kafka_has_gone_back_the_groups_lag_is_told_as_it_is(histories: Histories) -> None:
    histories.worker()
    await histories.arrive(await histories.publish_to_both(10))
    copy = histories.copy_of_kafka()
    for _ in range(10):  # many chunks, so that Kafka held a far higher offset as committed than it does then
        await histories.arrive(await histories.publish_to_both(1))
    await eventually(histories.nothing_is_behind)
    copy.restore()
    await histories.arrive(await histories.publish_to_both(1))
    await eventually(histories.nothing_is_behind, 90.0)


@pytest.mark.long
async def test_kafka_goes_back_to_before_the_first_message(histories: Histories) -> None:
    worker = histories.worker()
    copy = histories.copy_of_kafka()
    await histories.arrive(await histories.publish_to_both(30))
    worker.stop()
    copy.restore()
    worker.start()
    await histories.arrive(await histories.publish_to_both(60))


@pytest.mark.long
async def test_kafka_goes_back_and_has_grown_past_the_old_fence_before_a_worker_looks(
    histories: Histories,
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(10))
    copy = histories.copy_of_kafka()
    await histories.arrive(await histories.publish(20))
    worker.stop()
    copy.restore()
    new = await histories.write(40)
    worker.start()
    await histories.arrive(new)


async def test_unique_is_made_anew_within_a_moment(histories: Histories) -> None:
    histories.worker()
    await histories.arrive(await histories.publish_to_both(30))
    await histories.make_anew(histories.settings.unique_topic)
    await histories.arrive(await histories.publish_to_both(50))


async def test_unique_is_made_anew_and_longer_than_the_old_fence_before_handoff_looks(
    histories: Histories,
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(10))
    worker.stop()
    await histories.make_anew(histories.settings.unique_topic)
    new = await refined_while_redis_is_away(histories, 40)
    await histories.arrive(new)


async def refined_while_redis_is_away(histories: Histories, count: int) -> list[str]:
    """Start a worker without Redis; messages of the first partition are refined, then Redis comes."""
    unique = histories.settings.unique_topic
    before = (await histories.ends(unique))[0]
    histories.redis.stop()
    histories.worker(wait="/health/live")
    new = await histories.write(count)

    async def are_refined() -> bool:
        return (await histories.ends(unique))[0] >= before + count

    await eventually(are_refined, interval_s=0.2)
    histories.redis.start()
    return new


async def test_the_tail_of_raw_alone_is_lost_and_ingress_has_written_past_the_old_end(
    histories: Histories,
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(60))
    worker.stop()
    raw = histories.settings.raw_topic
    end = (await histories.ends(raw))[0]
    histories.cut_tails(raw, {0: end - 20})
    assert (await histories.ends(raw))[0] <= end - 20  # at the end of a batch
    new = await histories.write(60)
    worker.start()
    await histories.arrive(new)
    await histories.arrive(await histories.publish(10))


async def test_the_tail_of_unique_alone_is_lost_and_it_has_grown_before_handoff_looks(
    histories: Histories,
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(40))
    worker.stop()
    unique = histories.settings.unique_topic
    histories.cut_tails(unique, {0: (await histories.ends(unique))[0] - 20})
    await histories.arrive(await refined_while_redis_is_away(histories, 40))


@pytest.mark.long
async def test_the_tail_of_raw_and_of_unique_is_lost_to_different_places(histories: Histories) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(60))
    worker.stop()
    for topic, records in ((histories.settings.raw_topic, 30), (histories.settings.unique_topic, 10)):
        histories.cut_tails(topic, {0: (await histories.ends(topic))[0] - records})
    new = await histories.write(20)
    worker.start()
    await histories.arrive(new)
    await histories.arrive(await histories.publish(40))


async def test_what_is_deleted_of_raw_before_it_was_read_is_told_and_the_rest_arrives(
    histories: Histories,
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(10))
    raw = histories.settings.raw_topic
    worker.pause()
    lost, kept = await histories.write(30), await histories.write(30)
    await histories.delete_records(raw, {0: (await histories.ends(raw))[0] - 30})
    worker.resume()
    await histories.arrive(kept)
    missing = await histories.missing(lost)
    await tells_of_the_cut(worker, len(missing))


async def test_what_is_deleted_of_unique_while_redis_is_away_is_told_and_the_rest_arrives(
    histories: Histories,
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(10))
    unique = histories.settings.unique_topic
    histories.redis.stop()
    end = (await histories.ends(unique))[0]
    new = await histories.publish(400)

    async def are_refined() -> bool:
        return (await histories.ends(unique))[0] >= end + len(new)

    await eventually(are_refined, interval_s=0.2)
    await histories.delete_records(unique, {0: end + 350})
    histories.redis.start()
    await histories.arrive(new[350:])
    missing = await histories.missing(new)
    assert missing, "the worker had fetched all of it: nothing was deleted unread"
    await tells_of_the_cut(worker, len(missing))


async def tells_of_the_cut(worker: Worker, records: int) -> None:
    """Readiness fails, the counter says how many records are gone, and no line says that nothing is."""

    def is_told() -> bool:
        return worker.is_running and page(worker)["notes"].get("records_cut") == records

    await eventually(is_told, timeout_s=30)
    await eventually(lambda: asyncio.to_thread(lambda: worker.status("/health/ready") == 503))
    assert "othing is lost" not in worker.log_text(), worker.log_tail()


@pytest.mark.parametrize("runs", [True, False], ids=["worker runs", "worker is stopped"])
async def test_redis_comes_back_as_it_was_before_a_partitions_first_fence(
    histories: Histories, *, runs: bool
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(30, tenant=0))
    copy = histories.copy_of_redis()
    new = await histories.publish(30, tenant=1)
    await histories.arrive(new)
    if not runs:
        worker.stop()
    copy.restore()
    assert await histories.missing(new) == set(new)
    worker.start()
    await histories.arrive(new)


async def test_a_redis_that_lost_everything_gets_what_was_pushed_lately_again(histories: Histories) -> None:
    worker = histories.worker()
    copy = histories.copy_of_redis()
    pushed = await histories.publish_to_both(30)
    await histories.arrive(pushed)
    worker.stop()
    copy.restore()
    worker.start()
    await histories.arrive(pushed)
