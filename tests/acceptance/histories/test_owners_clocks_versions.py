"""Another group, another Kafka, another clock, another version on the same topics and Redis."""

import os
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from streams.models import Origin
from streams.topics import seen_changelog
from streams.wire import decision
from streams.wire.headers import FORMAT
from tests.acceptance.conftest import Own
from tests.acceptance.histories.pipeline import Histories, start_or_end
from tests.conftest import real
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.variants import long
from tests.parts.wrong_clock import WrongClock

HOUR_S = 3_600
WINDOW_S = 3


def refuses_to_share(histories: Histories, group: str) -> bool:
    """Start a worker of another group and stop it, if it does not end; return whether it was refused."""
    other = histories.make_worker(CONSUMER_GROUP=group)
    code = start_or_end(other)
    log = other.log_text()
    if code is None:
        other.stop()
    histories.workers.remove(other)
    other.remove()
    told = [
        line for line in log.splitlines() if f"CONSUMER_GROUP={histories.settings.consumer_group}" in line
    ]
    return code == os.EX_CONFIG and len(told) == 1 and group in told[0]


async def test_a_second_group_is_refused_and_the_first_goes_on(histories: Histories, unique: str) -> None:
    raw = histories.settings.raw_topic
    worker = histories.worker()
    await histories.arrive(await histories.publish_to_both(30))
    worker.stop()
    await histories.delete_records(raw, {p: end - 5 for p, end in (await histories.ends(raw)).items()})
    refused = refuses_to_share(histories, f"{unique}-other")
    worker.start()
    await histories.arrive(await histories.publish_to_both(100))
    assert max((await histories.queued()).values()) == 1, "some were pushed twice"
    assert refused


async def test_a_second_group_beside_the_first_is_refused_and_the_first_goes_on(
    histories: Histories, unique: str
) -> None:
    histories.worker()
    await histories.arrive(await histories.publish_to_both(30))
    refused = refuses_to_share(histories, f"{unique}-other")
    await histories.arrive(await histories.publish_to_both(30))
    assert max((await histories.queued()).values()) == 1, "some were pushed twice"
    assert refused


async def test_one_redis_and_kafka_a_then_b_then_a(histories: Histories, own: Own) -> None:
    pipeline, first = histories.pipeline, histories.pipeline.kafka
    other: Kafka = own(Kafka)
    sent: list[str] = []
    for kafka in (first, other, first):
        pipeline.kafka = kafka
        pipeline.environment["BROKER_URL"] = kafka.url
        worker = histories.worker()
        sent += await histories.publish_to_both(30)
        await histories.arrive(sent)
        worker.stop()
        histories.workers.remove(worker)
        worker.remove()


@pytest.mark.parametrize(
    "ahead_s",
    [50 * 60, long(-6 * HOUR_S)],
    ids=["50 minutes ahead", "6 hours behind"],
)
async def test_the_first_start_has_a_wrong_clock_and_raw_is_made_anew_when_it_is_right(
    histories: Histories, tmp_path: Path, ahead_s: int
) -> None:
    clock = real(lambda: WrongClock(tmp_path))
    clock.set(ahead_s)
    worker = histories.worker(**clock.environment)
    await histories.arrive(await histories.publish_to_both(30))
    worker.stop()
    clock.set(0)
    await histories.make_anew(histories.settings.raw_topic)
    worker.start()  # drops the decisions about the old log, and ends before it has made any
    worker.stop()
    for _ in range(2):
        worker.start()
        await histories.arrive(await histories.publish_to_both(30))
        worker.stop()


@pytest.mark.parametrize(
    "hours",
    [[-6], long([6, 0])],
    ids=["back", "ahead and right again"],
)
async def test_decisions_leave_the_window_though_the_clock_jumps(
    histories: Histories, tmp_path: Path, hours: list[int]
) -> None:
    clock = real(lambda: WrongClock(tmp_path))
    histories.worker(DEDUPE_WINDOW_S=str(WINDOW_S), **clock.environment)
    await histories.arrive(await histories.publish(60))
    for ahead in hours:
        clock.set(ahead * HOUR_S)
        await histories.arrive(await histories.publish(60))

    async def few_are_held() -> bool:
        await histories.arrive(await histories.publish(1))
        return await histories.decisions() < 30

    await eventually(few_are_held, timeout_s=30, interval_s=0.5)


async def test_a_worker_whose_clock_jumps_by_hours_loses_nothing(
    histories: Histories, tmp_path: Path
) -> None:
    clock = real(lambda: WrongClock(tmp_path))
    worker = histories.worker(**clock.environment)
    for hours in (6, -6, 0):
        await histories.arrive(await histories.publish_to_both(20))
        clock.set(hours * HOUR_S)
        await histories.arrive(await histories.publish_to_both(20))
        worker.stop()
        worker.start()
    assert max((await histories.queued()).values()) == 1, "some were pushed twice"


async def of_a_newer_version(histories: Histories, where: str) -> None:
    """Write a record as a version behind this one would."""
    topics = {"raw": histories.settings.raw_topic, "unique": histories.settings.unique_topic}
    topic = topics.get(where) or seen_changelog(histories.settings)
    (record, *_) = [one for one in await histories.records(topic) if one.partition == 0 and one.value]
    key, value, headers = record.key, record.value, dict(record.headers)
    if where == "changelog":
        newer = msgspec.structs.replace(decision.decode(value), format=decision.FORMAT + 1)
        key, value = decision.encode_key(Origin(0, 5)), decision.encode(newer)
    else:
        headers["format"] = b"%d" % (FORMAT + 1)
    async with AIOKafkaProducer(bootstrap_servers=histories.pipeline.kafka.bootstrap) as producer:
        await producer.send_and_wait(topic, value, key, partition=0, headers=list(headers.items()))


@pytest.mark.parametrize("where", ["changelog", "raw", "unique"])
async def test_what_a_newer_version_wrote_ends_the_worker_and_is_never_passed_over(
    histories: Histories, where: str
) -> None:
    worker = histories.worker()
    await histories.arrive(await histories.publish(10))
    worker.stop()
    await of_a_newer_version(histories, where)
    start_or_end(worker)
    code = await eventually(lambda: worker.exit_code)
    assert code == os.EX_CONFIG, worker.log_tail()
    assert "written by a newer version" in worker.log_text()
