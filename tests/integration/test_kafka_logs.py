"""Cutting the tail of a partition's log, as the fault harness does it to a real Kafka."""

from collections import defaultdict
from collections.abc import Callable

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.parts.kafka import Kafka
from tests.parts.kafka_logs import cut_tails
from tests.parts.topics import eventually_stands, read_topic

SMALL = {"log.segment.bytes": "1048576"}
RECORDS = 60
Own = Callable[[Callable[[], Kafka]], Kafka]


async def write(kafka: Kafka, topic: str, partition: int, numbers: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for number in numbers:
            await producer.send_and_wait(topic, b"%d " % number + b"x" * 50_000, partition=partition)


async def test_a_log_that_was_cut_ends_there_and_goes_on_from_there(own: Own, unique: str) -> None:
    kafka = own(lambda: Kafka(SMALL))
    ends = {0: 45, 1: 7, 2: 0, 3: RECORDS}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(unique, len(ends), 1)])
    await admin.close()
    await eventually_stands(kafka.bootstrap, unique)
    for partition in ends:
        await write(kafka, unique, partition, range(RECORDS))
    kafka.kill()
    assert cut_tails(kafka.directory / "data", unique, ends) == ends
    kafka.start()
    for partition in ends:
        await write(kafka, unique, partition, range(100, 105))
    found = defaultdict(list)
    for record in await read_topic(kafka.bootstrap, unique):
        found[record.partition].append(int(record.value.split()[0]))
    assert found == {partition: [*range(end), *range(100, 105)] for partition, end in ends.items()}
