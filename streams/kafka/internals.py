"""What aiokafka and Faust keep to themselves and the guarantees need: all uses of it, each with its reason.

Read against aiokafka 0.14 and faust-streaming 0.15; ``tests/unit/kafka/test_internals.py`` fails when one of
them is gone or called otherwise.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.structs import TopicPartition

# ruff: noqa: SLF001 - what this module is for


def client_of(user: AIOKafkaConsumer | AIOKafkaAdminClient) -> AIOKafkaClient:
    """Return the client of a consumer or an admin client.

    Neither passes on its requests for metadata, whose public ways may create a topic that is missing, nor
    requests of versions that it does not know.
    """
    client: AIOKafkaClient = user._client
    return client


def partitions_of(cluster: ClusterMetadata, topic: str) -> Mapping[int, Any]:
    """Return a topic's partitions with leader and copies in sync, of which the public ways tell less."""
    partitions: Mapping[int, Any] = cluster._partitions.get(topic) or {}
    return partitions


def gathered_bytes(accumulator: MessageAccumulator, topic: str, partition: int) -> int | None:
    """Return how much the batch holds that the next record of a partition would join; None without one.

    ``producer/message_accumulator.py``, ``add_message``: where the record does not fit, it waits.
    """
    batches = accumulator._batches.get(TopicPartition(topic, partition))
    return batches[-1]._builder.size() if batches else None


def wait_for_fetches(consumer: AIOKafkaConsumer, ms: int) -> None:
    """Let a broker answer a fetch that has nothing to return after so long; Faust asks for 1.5 s."""
    consumer._fetch_max_wait_ms = ms


def thread_of(faust_consumer: Any) -> Any:
    """Return the thread, with a loop of its own, in which Faust keeps aiokafka's consumer."""
    return faust_consumer._thread


def consumer_of(thread: Any) -> AIOKafkaConsumer:
    """Return aiokafka's consumer; its methods must be called on that thread's loop."""
    consumer: AIOKafkaConsumer = thread._ensure_consumer()
    return consumer


def coordinator_of(consumer: AIOKafkaConsumer) -> GroupCoordinator:
    """Return what knows the group's generation (``consumer/group_coordinator.py``)."""
    coordinator: GroupCoordinator = consumer._coordinator
    return coordinator


async def heartbeat(coordinator: GroupCoordinator) -> bool:
    """Send the heartbeat that aiokafka sends all the time.

    Returns:
        False to a member whom the group does not know any more; True also while the group is rebalancing,
        which `must_rejoin` then tells.
    """
    return bool(await coordinator._do_heartbeat())


def must_rejoin(coordinator: GroupCoordinator) -> bool:
    """Tell whether this member has to join the group again."""
    return bool(coordinator._rejoin_needed_fut.done())
