"""What happens to the histories of the parts: one goes back, or is made anew, and the others do not."""

import asyncio
import shutil
from functools import partial

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from streams.ingress.chunking import partition_of
from streams.settings import Settings
from streams.topics import TopicSpec, seen_changelog, topic_specs
from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.quiet import quiet
from tests.faults.scene import Happen, Scene
from tests.faults.servers import down, note_set_back, tap_redis
from tests.faults.stack import GROUP, PARTITIONS, TOPICS
from tests.parts.copies import Copy
from tests.parts.kafka_logs import cut_tails

SETTINGS = Settings.from_mapping(
    {"TOPIC_PARTITIONS": str(PARTITIONS), "CONSUMER_GROUP": GROUP, "TOPIC_PREFIX": TOPICS}
)
TOPIC_OF = {
    "raw": SETTINGS.raw_topic,
    "unique": SETTINGS.unique_topic,
    "changelog": seen_changelog(SETTINGS),
}
DELETED, KEPT = 300, 50


async def set_kafka_back(scene: Scene, fault: Fault) -> bool | None:
    """Let Kafka come back with all that it held some time ago, and nothing later."""
    async with scene.locks["kafka"]:
        copy = await asyncio.to_thread(Copy, scene.stack.kafka, "data")
    await pass_time(fault.seconds)
    async with quiet(scene) as is_quiet:
        if not is_quiet:
            return False
        await scene.accounts.keep_rejections()
        scene.stack.tap.begin_era()
        async with scene.locks["kafka"]:
            await asyncio.to_thread(copy.restore)
    return None


async def set_topic_back(scene: Scene, fault: Fault, *, which: str) -> bool | None:
    """Let one topic lose what was written since some time ago, as an unclean election would."""
    topic = TOPIC_OF[which]
    ends = await _ends(scene, topic)
    await pass_time(fault.seconds)
    async with quiet(scene) as is_quiet:
        if not is_quiet:
            return False
        scene.stack.tap.begin_era()
        async with down(scene, "kafka", crash=True) as kafka:
            now = await asyncio.to_thread(cut_tails, kafka.directory / "data", topic, ends)
        scene.say(f"{topic} is set back to {now}")
    return None


async def make_topic_anew(scene: Scene, _fault: Fault, *, which: str) -> bool | None:
    """Delete a topic and make it again, when all that it holds has been taken further.

    As fast as Kafka lets us: a worker that does not notice must not take the new log for the old.
    """
    async with quiet(scene) as is_quiet:
        if not is_quiet:
            return False
        scene.stack.tap.begin_era()
        await _delete_and_create(scene, _spec(TOPIC_OF[which]))
    return None


async def delete_records(scene: Scene, fault: Fault) -> bool | None:
    """Let retention take what a worker has not read; what it leaves must arrive, the rest must be told."""
    async with quiet(scene) as is_quiet:
        if not is_quiet:
            return False
        delete = _deleted_of_unique if fault.target == "unique" else _deleted_of_raw
        await delete(scene)
    scene.told.append((str(fault), asyncio.get_running_loop().time()))
    return None


async def _deleted_of_raw(scene: Scene) -> None:
    workers = scene.stack.workers.alive
    for worker in workers:
        worker.pause()
    try:
        await _write_and_delete(scene, TOPIC_OF["raw"])
    finally:
        for worker in workers:
            worker.resume()


async def _deleted_of_unique(scene: Scene) -> None:
    link = scene.stack.links["worker-redis"]
    link.cut()
    try:
        await _write_and_delete(scene, TOPIC_OF["unique"])
    finally:
        link.heal()


async def _write_and_delete(scene: Scene, topic: str) -> None:
    tenant, direct = scene.stack.tenants[0], scene.accounts.direct
    partition = partition_of(tenant, PARTITIONS)
    where = (scene.stack.bootstrap, TOPIC_OF["raw"], partition, tenant)
    begin = (await _ends(scene, topic))[partition]
    await direct.write(*where, DELETED)
    while topic != TOPIC_OF["raw"] and (await _ends(scene, topic))[partition] < begin + DELETED * 9 // 10:
        await pass_time(0.2)  # refine emits what it does not reject
    end = (await _ends(scene, topic))[partition]
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.stack.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=end)})
    finally:
        await admin.close()
    direct.owe(await direct.write(*where, KEPT))


async def empty_redis(scene: Scene, _fault: Fault) -> bool | None:
    """Let Redis come back as it was before the first fence, with what was pushed since, and lost with it."""
    async with scene.stack.ingests.take(scene.stack.ingests.alive[0]) as ingest:
        await asyncio.to_thread(ingest.stop)
        await pass_time(3)
        async with down(scene, "redis", crash=True) as server:
            shutil.rmtree(server.directory / "appendonlydir")
            await asyncio.to_thread(server.start)
            await tap_redis(scene)
            await note_set_back(scene)
    return None


def _spec(topic: str) -> TopicSpec:
    return next(spec for spec in topic_specs(SETTINGS) if spec.name == topic)


async def _delete_and_create(scene: Scene, spec: TopicSpec) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.stack.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([spec.name])
        new = NewTopic(spec.name, spec.partitions, spec.replication_factor, topic_configs=spec.configs)
        while (await admin.create_topics([new])).topic_errors[0][1]:
            await pass_time(0.05)
    finally:
        await admin.close()


async def _ends(scene: Scene, topic: str) -> dict[int, int]:
    async with AIOKafkaConsumer(bootstrap_servers=scene.stack.bootstrap) as consumer:
        found = await consumer.end_offsets([TopicPartition(topic, p) for p in range(PARTITIONS)])
    return {tp.partition: end for tp, end in found.items()}


HISTORIES: dict[str, Happen] = {
    "kafka-set-back": set_kafka_back,
    **{f"{which}-set-back": partial(set_topic_back, which=which) for which in TOPIC_OF},
    **{f"{which}-recreated": partial(make_topic_anew, which=which) for which in TOPIC_OF},
    "records-deleted": delete_records,
    "redis-before-first-fence": empty_redis,
}
