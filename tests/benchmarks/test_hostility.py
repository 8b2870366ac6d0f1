"""What a hostile tenant of the benchmarks publishes, and how an honest one's messages are found again."""

import re

import pytest

from agents.examine import examine
from benchmarks.hostile import Arrival, arrivals_in, pairs
from benchmarks.hostility import KINDS, packets_of
from benchmarks.material import tenants
from benchmarks.packets import BLOCK
from benchmarks.stack import PARTITIONS
from streams.ingress.chunking import partition_of
from streams.laravel.job import JobMetric, encode_job
from streams.models import Message, Origin, Reason
from streams.rules.payload import MAX_BYTES
from streams.wire import raw
from tests.benchmarks.test_packets import NOW_US, read

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
MAX_PACKET_BYTES, MAX_LEVELS = 262_144, 200
"""Of docker/secure/mosquitto.conf, which allows less than that of the other one, and of Mosquitto itself."""
NOT_IN_MQTT = re.compile("[\0-\x1f\x7f-\x9f+#\ud800-\udfff\ufffe\uffff]")
LARGE = ("arrays", "numbers", "strings", "noise")
each_kind = pytest.mark.parametrize("kind", KINDS)


def blocks(kind: str, count: int) -> list[tuple[str, bytes, int]]:
    """Return the topics, payloads and packet ids of the first blocks of a connection."""
    packets = packets_of(kind, TENANT, 3, "run")
    return [
        one
        for number in range(0, count * BLOCK, BLOCK // 2)
        for one in read(bytes(packets.stamped(number, BLOCK // 2, NOW_US)))
    ]


def message_of(topic: str, payload: bytes) -> Message:
    """Return a message as refine reads it."""
    encoded = raw.encode_message(topic, payload, "2026-11-24T12:00:00.000000Z", 1)
    (message,) = raw.decode(raw.join([encoded]))
    return message


@each_kind
def test_the_broker_takes_whatever_is_published(kind: str) -> None:
    for topic, payload, _ in blocks(kind, 1):
        assert not NOT_IN_MQTT.search(topic)
        assert topic.startswith("metrics/")
        assert topic.count("/") < MAX_LEVELS
        assert len(topic.encode()) + len(payload) + 10 < MAX_PACKET_BYTES


@each_kind
def test_no_two_packets_that_are_on_their_way_have_one_id(kind: str) -> None:
    ids = [packet_id for _, _, packet_id in blocks(kind, 4)]
    assert 0 not in ids
    assert len(set(ids)) == len(ids) == 4 * BLOCK


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_payload_is_as_large_as_it_may_be(kind: str) -> None:
    sizes = [len(payload) for _, payload, _ in blocks(kind, 1)]
    assert min(sizes) > MAX_BYTES - 1_000
    assert max(sizes) <= MAX_BYTES


def test_one_that_is_too_large_is_told_so() -> None:
    messages = [message_of(topic, payload) for topic, payload, _ in blocks("oversize", 1)[:2]]
    examined = examine(messages, Origin(0, 0), 1.0)
    assert {one.reason for one in examined.rejections.values()} == {Reason.PAYLOAD_TOO_LARGE}
    assert len(examined.rejections) == 2


@each_kind
def test_none_is_met_with_a_bug(kind: str) -> None:
    messages = [message_of(topic, payload) for topic, payload, _ in blocks(kind, 1)[:24]]
    examined = examine(messages, Origin(0, 0), 1.0)
    assert Reason.INTERNAL_ERROR not in {one.reason for one in examined.rejections.values()}
    assert len(examined.rejections) + len(examined.candidates) == len(messages)


@pytest.mark.parametrize("kind", ["topics", "strangers"])
def test_no_topic_comes_a_second_time(kind: str) -> None:
    topics = [topic for topic, _, _ in blocks(kind, 3)]
    assert len(set(topics)) == len(topics)
    others = {topic for topic, _, _ in read(bytes(packets_of(kind, TENANT, 4, "run").stamped(0, BLOCK, 0)))}
    assert others.isdisjoint(topics)


def test_of_an_odd_topic_only_the_names_are_wrong_and_strangers_have_sound_ones() -> None:
    odd = [message_of(topic, payload) for topic, payload, _ in blocks("topics", 1)]
    assert len(examine(odd, Origin(0, 0), 1.0).rejections) == BLOCK
    strangers = [message_of(topic, payload) for topic, payload, _ in blocks("strangers", 1)]
    candidates = examine(strangers, Origin(0, 0), 1.0).candidates.values()
    assert len({candidate.reading.tenant_id for candidate in candidates}) == BLOCK


def test_the_hostile_tenant_shares_the_honest_ones_partition_once_and_once_not() -> None:
    found = pairs(tenants(6))
    partitions = {case: [partition_of(tenant, PARTITIONS) for tenant in pair] for case, pair in found.items()}
    assert len(set(partitions["same_partition"])) == 1
    assert len(set(partitions["other_partition"])) == 2
    assert len({tenant for pair in found.values() for tenant in pair}) == 3


def test_in_a_job_each_message_has_the_time_at_which_ingress_received_it() -> None:
    metrics = [
        JobMetric(
            agent_id="edge",
            metric_name="cpu",
            value=1.5,
            timestamp=f"2026-11-24 12:00:0{n}.250000",
            dedupe_id=id_,
        )
        for n, id_ in enumerate(["honest-00001", "another", "honest-00003"])
    ]
    found = dict(arrivals_in(encode_job(TENANT, metrics, "uuid", "id"), 5.0))
    assert found == {
        "honest-00001": Arrival(1_795_521_600.25, 5.0),
        "honest-00003": Arrival(1_795_521_602.25, 5.0),
    }
