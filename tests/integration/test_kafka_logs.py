"""Cutting the tail of a partition's log, as the fault harness does it to a real Kafka."""

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.parts.kafka import Kafka
from tests.parts.kafka_logs import cut_tails
from tests.parts.topics import eventually_stands, read_topic

SMALL = {"log.segment.bytes": "1048576"}
RECORDS = 60
Own = Callable[[Callable[[], Kafka]], Kafka]


async def write(kafka: Kafka, topic: str, numbers: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for number in numbers:
            await producer.send_and_wait(topic, b"%d " % number + b"x" * 50_000, partition=0)


@pytest.mark.parametrize("end", [45, 7, 0])
async def test_a_log_that_was_cut_ends_there_and_goes_on_from_there(own: Own, unique: str, end: int) -> None:
    kafka = own(lambda: Kafka(SMALL))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(unique, 1, 1)])
    await admin.close()
    await eventually_stands(kafka.bootstrap, unique)
    await write(kafka, unique, range(RECORDS))
    kafka.kill()
    assert cut_tails(kafka.directory / "data", unique, {0: end}) == {0: end}
    kafka.start()
    await write(kafka, unique, range(100, 105))
    found = [int(record.value.split()[0]) for record in await read_topic(kafka.bootstrap, unique)]
    assert found == [*range(end), *range(100, 105)]
