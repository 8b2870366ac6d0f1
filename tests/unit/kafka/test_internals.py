"""The private names of aiokafka, Faust and paho that are relied on are there in the pinned versions."""

import inspect

import aiokafka.client
import paho.mqtt.client
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import message_accumulator
from faust.transport.consumer import ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from streams.kafka import internals

SET_IN_INIT = [
    (AIOKafkaConsumer, "_client"),
    (AIOKafkaConsumer, "_coordinator"),
    (AIOKafkaConsumer, "_fetch_max_wait_ms"),
    (aiokafka.admin.AIOKafkaAdminClient, "_client"),
    (ClusterMetadata, "_partitions"),
    (message_accumulator.MessageAccumulator, "_batches"),
    (message_accumulator.MessageBatch, "_builder"),
    (GroupCoordinator, "_rejoin_needed_fut"),
    (ThreadDelegateConsumer, "_thread"),
    (paho.mqtt.client.Client, "_in_packet"),
    (paho.mqtt.client.Client, "_last_mid"),
    (paho.mqtt.client.MQTTMessage, "_topic"),
]
METHODS = [
    (GroupCoordinator, "_do_heartbeat"),
    (AIOKafkaConsumerThread, "_ensure_consumer"),
    (AIOKafkaConsumerThread, "_create_worker_consumer"),
    (aiokafka.client.AIOKafkaClient, "fetch_all_metadata"),
    (aiokafka.client.AIOKafkaClient, "force_metadata_update"),
    (aiokafka.client.AIOKafkaClient, "get_random_node"),
    (paho.mqtt.client.Client, "_mid_generate"),
    (paho.mqtt.client.Client, "_handle_publish"),
    (paho.mqtt.client.Client, "_packet_queue"),
    (paho.mqtt.client.Client, "_sock_close"),
]


def named(case: tuple[type, str]) -> str:
    return f"{case[0].__name__}.{case[1]}"


@pytest.mark.parametrize("case", SET_IN_INIT, ids=named)
def test_what_is_read_is_set_by_its_owner(case: tuple[type, str]) -> None:
    owner, name = case
    sources = [inspect.getsource(each) for each in owner.__mro__[:-1] if each.__module__ != "typing"]
    assert name in getattr(owner, "__slots__", ()) or any(
        f"self.{name} =" in source or f"self.{name}:" in source for source in sources
    )


@pytest.mark.parametrize("case", METHODS, ids=named)
def test_what_is_called_can_be_called(case: tuple[type, str]) -> None:
    owner, name = case
    assert callable(getattr(owner, name))


def test_every_private_name_of_the_module_is_looked_at_here() -> None:
    looked_at = {name for _, name in SET_IN_INIT + METHODS}
    used = {
        word.strip("().,")
        for line in inspect.getsource(internals).splitlines()
        for part in line.split(".")[1:]
        if (word := part.split("(")[0].split("[")[0].split()[0] if part.strip() else "").startswith("_")
        and not word.startswith("__")
    }
    assert used
    assert used <= looked_at
