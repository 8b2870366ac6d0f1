"""A pipeline whose parts are set back, made anew or cut, and what has become of each of its messages.

Each message has an id of its own, and nothing takes jobs from the queue, so the queue tells what was pushed.
"""

import asyncio
import json
import re
import urllib.request
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as redis_client
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from streams.ingress.chunking import partition_of
from streams.laravel.job import decode_job
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.settings import Settings
from streams.topics import seen_changelog, topic_specs
from streams.wire import raw
from streams.wire.headers import headers
from tests.acceptance.conftest import Pipeline
from tests.parts.copies import Copy
from tests.parts.eventually import eventually
from tests.parts.kafka_logs import cut_tails
from tests.parts.process import PartFailedError
from tests.parts.redis import Redis
from tests.parts.topics import group_lag, read_topic
from tests.parts.worker import Worker

PARTITIONS = 2
IN_TIME_S = 60.0
"""How long what was acknowledged may take to be in the queue, in the worst of these cases."""
_ID = re.compile(rb"h-\d{6}")


@dataclass
class Histories:
    """One pipeline of two partitions, with a tenant in each and a Redis of its own.

    Attributes:
        workers: those that were made; the fixture removes them.
    """

    pipeline: Pipeline
    redis: Redis
    workers: list[Worker] = field(default_factory=list)
    _ids: int = 0

    @property
    def settings(self) -> Settings:
        """The workers' settings."""
        return Settings.from_mapping(self.pipeline.environment)

    def make_worker(self, *, wait: str = "/health/ready", **settings: str) -> Worker:
        """Make a worker that is not started."""
        self.workers.append(Worker(self.pipeline.environment | settings, wait=wait))
        return self.workers[-1]

    def worker(self, *, wait: str = "/health/ready", **settings: str) -> Worker:
        """Start a worker."""
        worker = self.make_worker(wait=wait, **settings)
        worker.start()
        return worker

    # --- Messages ---------------------------------------------------------------------------------------

    def messages(self, count: int, tenant: int = 0) -> dict[str, tuple[str, bytes]]:
        """Return new messages by their ids, each as topic and payload."""
        first, self._ids = self._ids, self._ids + count
        topic = f"metrics/{self.pipeline.tenants[tenant]}/edge-1/load"
        ids = [f"h-{number:06d}" for number in range(first, first + count)]
        return {name: (topic, b'{"value":1,"dedupe_id":"%s"}' % name.encode()) for name in ids}

    async def publish(self, count: int, tenant: int = 0) -> list[str]:
        """Publish new messages and return their ids; the broker has acknowledged them."""
        sent = self.messages(count, tenant)
        async with MqttPublisher(Address.parse(self.pipeline.mosquitto.url)) as publisher:
            answers = (publisher.publish(topic, payload, 1) for topic, payload in sent.values())
            assert all(await asyncio.gather(*answers))
        return list(sent)

    async def publish_to_both(self, count: int) -> list[str]:
        """Publish so many to each partition."""
        return [name for tenant in range(PARTITIONS) for name in await self.publish(count, tenant)]

    async def correct(self, name: str, value: int, tenant: int = 0) -> None:
        """Publish a message once more, with another value, and wait until that is the last in the queue."""
        topic = f"metrics/{self.pipeline.tenants[tenant]}/edge-1/load"
        payload = b'{"value":%d,"dedupe_id":"%s"}' % (value, name.encode())
        async with MqttPublisher(Address.parse(self.pipeline.mosquitto.url)) as publisher:
            assert await publisher.publish(topic, payload, 1)

        async def is_last() -> bool:
            return (await self.last_values()).get(name) == value

        await eventually(is_last, IN_TIME_S, interval_s=0.2)

    async def last_values(self) -> dict[str | None, float]:
        """Return by its id the value of each message that the queue holds last."""
        async with redis_client.from_url(self.redis.url) as client:
            found: Any = await client.lrange(f"{self.settings.queue_prefix}queues:default", 0, -1)
        return {metric.dedupe_id: float(metric.value) for job in found for metric in decode_job(job).metrics}

    async def write(self, count: int, tenant: int = 0) -> list[str]:
        """Write new messages to metrics.raw as an ingress does, a record each; return their ids."""
        new = self.messages(count, tenant)
        async with AIOKafkaProducer(bootstrap_servers=self.pipeline.kafka.bootstrap) as producer:
            for topic, payload in new.values():
                value = raw.join([raw.encode_message(topic, payload, "2026-11-23T14:00:00.000000Z", 1)])
                await producer.send_and_wait(
                    self.settings.raw_topic, value, partition=tenant, headers=headers(1)
                )
        return list(new)

    async def queued(self) -> Counter[str]:
        """Return how often each message is in the queue."""
        async with redis_client.from_url(self.redis.url) as client:
            found: Any = await client.lrange(f"{self.settings.queue_prefix}queues:default", 0, -1)
        return Counter(name.decode() for job in found for name in set(_ID.findall(job)))

    async def missing(self, ids: Iterable[str]) -> set[str]:
        """Return which messages are not in the queue."""
        return set(ids) - set(await self.queued())

    async def arrive(self, ids: Collection[str], within_s: float = IN_TIME_S) -> None:
        """Wait until messages are in the queue.

        Raises:
            AssertionError: naming how many are missing; a worker that has ended is asked to live again, as a
                supervisor would.
        """
        try:
            await eventually(lambda: self._has(ids), within_s, interval_s=0.2)
        except AssertionError:
            missing = await self.missing(ids)
            tails = "\n".join(worker.log_tail() for worker in self.workers)
            raise AssertionError(f"{len(missing)} of {len(ids)} missing: {min(missing)}…\n{tails}") from None

    async def _has(self, ids: Collection[str]) -> bool:
        for worker in self.workers:
            if worker.exit_code is not None:
                worker.start()
        return not await self.missing(ids)

    # --- Topics -----------------------------------------------------------------------------------------

    async def ends(self, topic: str) -> dict[int, int]:
        """Return where each partition of a topic ends."""
        async with AIOKafkaConsumer(bootstrap_servers=self.pipeline.kafka.bootstrap) as consumer:
            found = await consumer.end_offsets([TopicPartition(topic, p) for p in range(PARTITIONS)])
        return {tp.partition: end for tp, end in found.items()}

    async def nothing_is_behind(self) -> bool:
        """Tell whether the group has committed all that both topics hold: what a scaler goes by."""
        found = self.settings
        topics = [found.raw_topic, found.unique_topic]
        return not await group_lag(self.pipeline.kafka.bootstrap, found.consumer_group, topics)

    async def make_anew(self, topic: str) -> None:
        """Delete a topic and make it again, as fast as Kafka lets us."""
        (spec,) = (spec for spec in topic_specs(self.settings) if spec.name == topic)
        new = NewTopic(spec.name, spec.partitions, spec.replication_factor, topic_configs=spec.configs)
        async with _admin(self.pipeline) as admin:
            await admin.delete_topics([topic])

            async def is_made() -> bool:
                return not (await admin.create_topics([new])).topic_errors[0][1]

            await eventually(is_made)

    async def delete_records(self, topic: str, before: dict[int, int]) -> None:
        """Let partitions begin at an offset, as retention would."""
        async with _admin(self.pipeline) as admin:
            await admin.delete_records(
                {TopicPartition(topic, p): RecordsToDelete(before_offset=at) for p, at in before.items()}
            )

    def cut_tails(self, topic: str, ends: dict[int, int]) -> None:
        """Let partitions lose their last records, as an unclean election would."""
        kafka = self.pipeline.kafka
        kafka.kill()
        cut_tails(kafka.directory / "data", topic, ends)
        kafka.start()

    async def records(self, topic: str) -> Sequence[Any]:
        """Read a topic."""
        return await read_topic(self.pipeline.kafka.bootstrap, topic)

    async def decisions(self) -> int:
        """Return how many decisions the changelog holds."""
        last = {row.key: row.value for row in await self.records(seen_changelog(self.settings))}
        return sum(value is not None for value in last.values())

    def copy_of_redis(self) -> Copy:
        """Keep what Redis holds now."""
        return Copy(self.redis, "appendonlydir")

    def copy_of_kafka(self) -> Copy:
        """Keep what Kafka holds now."""
        return Copy(self.pipeline.kafka, "data")


def _admin(pipeline: Pipeline) -> "_Admin":
    return _Admin(pipeline.kafka.bootstrap)


class _Admin:
    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


def start_or_end(worker: Worker) -> int | None:
    """Start a worker; return its exit code if it ends instead of becoming ready."""
    try:
        worker.start()
    except PartFailedError:
        code = worker.exit_code
        assert code is not None, worker.log_tail()
        return code
    return None


def page(worker: Worker) -> Any:
    """Return the statistics that a worker shows."""
    with urllib.request.urlopen(f"{worker.web_url}/", timeout=5) as response:  # noqa: S310 - loopback
        return json.load(response)


async def add_tenants_of_each_partition(pipeline: Pipeline) -> None:
    """Let the pipeline's tenants be one in each partition, in order."""
    found: dict[int, str] = {}
    while len(found) < PARTITIONS:
        tenant = str(uuid.uuid4())
        found.setdefault(partition_of(tenant, PARTITIONS), tenant)
    pipeline.tenants = [found[partition] for partition in range(PARTITIONS)]
    for tenant in pipeline.tenants:
        await pipeline.query("insert into tenants (id, name) values ($1, $2)", uuid.UUID(tenant), "one")
