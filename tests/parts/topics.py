"""Looking into Kafka's topics from outside, as an operator would."""

from collections.abc import Collection, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.parts.eventually import eventually


async def read_topic(bootstrap: str, topic: str) -> Sequence[Any]:
    """Return every record of a topic, from its beginning to where it ends now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = await _assign(consumer, [topic])
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


async def eventually_stands(bootstrap: str, *topics: str) -> None:
    """Wait until the broker tells of topics: it acknowledges their creation a little earlier."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def are_told() -> bool:
        return set(topics) <= set(await admin.list_topics())

    try:
        await eventually(are_told)
    finally:
        await admin.close()


async def leader_of(bootstrap: str, topic: str, partition: int) -> int:
    """Return the id of the broker that leads a partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        cluster = await consumer._client.fetch_all_metadata()
        return int(cluster.leader_for_partition(TopicPartition(topic, partition)))
    finally:
        await consumer.stop()


async def group_lag(bootstrap: str, group: str, topics: Collection[str]) -> int:
    """Return how many records of the topics a group has not committed yet."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await admin.start()
    await consumer.start()
    try:
        ends = await consumer.end_offsets(await _assign(consumer, topics))
        committed = await admin.list_consumer_group_offsets(group)
        return sum(end - max(0, _offset(committed, tp)) for tp, end in ends.items())
    finally:
        await consumer.stop()
        await admin.close()


def _offset(committed: Any, tp: TopicPartition) -> int:
    return int(committed[tp].offset) if tp in committed else 0


async def _assign(consumer: AIOKafkaConsumer, topics: Collection[str]) -> list[TopicPartition]:
    await consumer._client.force_metadata_update()
    cluster = await consumer._client.fetch_all_metadata()
    found = [TopicPartition(topic, p) for topic in topics for p in cluster.partitions_for_topic(topic) or ()]
    consumer.assign(found)
    return found
