"""The attacks of the benchmarks on a real Mosquitto with the file of docker/secure, and what it answers."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from benchmarks.attack_kinds import FLOODS, HELD, SILENT, VISITS
from benchmarks.attacker import Assault, Attacked, attacking
from benchmarks.attacks import Admitted, AttackScene, admitted
from benchmarks.flood import Order, flooding
from benchmarks.honest import Paced, publish_paced
from benchmarks.hostile import Pair
from benchmarks.material import tenants
from benchmarks.stack import Run
from tests.conftest import real
from tests.integration.brief_pipeline import brief_pipeline
from tests.parts.accounts import Entrance, many_files
from tests.parts.eventually import eventually
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.raw_mqtt import CLOSED, NO_MQTT, TAKEN

REFUSED_TOPIC, REFUSED_FILTER = "puback 0x87", "suback 0x87"
NOT_AUTHORIZED, ACCEPTED = "connack 0x87", "connack 0x00"
# MQTT 5, 3.14.2.1: what ends a connection.
MALFORMED, PROTOCOL_ERROR, INVALID_TOPIC = (f"disconnect 0x{code:02x}" for code in (0x81, 0x82, 0x90))
TOO_LARGE, NO_RETAIN, NO_QOS_2 = (f"disconnect 0x{code:02x}" for code in (0x95, 0x9A, 0x9B))
ANSWERS = {
    "foreign_topics": {REFUSED_TOPIC},
    "subscriptions": {REFUSED_FILTER},
    "client_id": {ACCEPTED},
    "wrong_password": {NOT_AUTHORIZED},
    "no_account": {NOT_AUTHORIZED},
    "no_tls": set(),
    "large_wills": {NOT_AUTHORIZED},
    "retained": {NO_RETAIN},
    "qos_2": {NO_QOS_2},
    "large_packets": {TOO_LARGE},
    "odd_topics": {MALFORMED},
}
"""What comes of each attack at least."""
BESIDE = {CLOSED, NO_MQTT}
BESIDE_ODD_TOPICS = {PROTOCOL_ERROR, INVALID_TOPIC, REFUSED_TOPIC, *TAKEN}
MESSAGES = 5


@pytest.fixture(scope="module")
def accounts() -> Iterator[Admitted]:
    honest, hostile = tenants(2)
    with many_files(HELD), ExitStack() as stack:
        yield real(lambda: stack.enter_context(admitted(Pair(honest, hostile))))


@pytest.fixture
def broker(accounts: Admitted) -> Iterator[GuardedMosquitto]:
    with real(accounts.broker) as started:
        yield started


async def beside(accounts: Admitted, broker: GuardedMosquitto, kind: str) -> tuple[Attacked, Paced]:
    """Let the honest device publish beside an attack."""
    entrance = Entrance.of(broker)
    assault = Assault(kind, entrance, accounts.honest, accounts.devices, broker.client_id)
    with attacking(assault) as end:
        paced = await publish_paced(entrance, accounts.honest, range(MESSAGES), 60)
        return await asyncio.to_thread(end), paced


@pytest.mark.parametrize("kind", VISITS)
async def test_an_attack_is_answered_as_it_should_be_and_an_honest_device_goes_on(
    accounts: Admitted, broker: GuardedMosquitto, kind: str
) -> None:
    attacked, paced = await beside(accounts, broker, kind)
    assert len(paced.acknowledged) == MESSAGES
    assert attacked.answers.keys() >= ANSWERS[kind]
    others = BESIDE_ODD_TOPICS if kind == "odd_topics" else set()
    assert attacked.answers.keys() <= ANSWERS[kind] | BESIDE | others
    assert min(attacked.attempts, attacked.connections) > 0


async def test_connections_that_say_nothing_are_held_all_the_while(
    accounts: Admitted, broker: GuardedMosquitto
) -> None:
    attacked, paced = await beside(accounts, broker, SILENT)
    assert len(paced.acknowledged) == MESSAGES
    assert attacked.connections - sum(attacked.answers.values()) == HELD


@pytest.mark.parametrize("kind", FLOODS.values())
def test_no_flood_of_a_tenant_with_accounts_is_refused(
    accounts: Admitted, broker: GuardedMosquitto, unique: str, kind: str
) -> None:
    gateways = accounts.gateways
    logins = [(each.username, each.password, Entrance.of(broker).ca) for each in gateways]
    with flooding(Order(broker.port, kind, gateways[0].tenant_id, unique, logins)) as flood:
        assert flood.end().messages > 0


@pytest.mark.parametrize("kind", ["nothing_first", "no_account", "flood_payloads"])
async def test_each_message_of_the_honest_device_is_found_in_its_job(
    accounts: Admitted, broker: GuardedMosquitto, redis_url: str, kind: str
) -> None:
    run = Run("bench", broker, {}, {"REDIS_URL": redis_url})
    with brief_pipeline(run) as client:
        await eventually(client.is_connected, 30)
        scene = AttackScene(run, broker, accounts, kind)
        figures: dict[str, Any] = await asyncio.to_thread(scene.measured, 0.3, 60)
    assert (figures["not_acknowledged"], figures["not_come"]) == (0, 0)
    assert (figures["attacker"]["attempts"] == 0) is (kind == "nothing_first")
    assert 0 < figures["end_to_end"]["p50"] <= figures["end_to_end"]["max"]
    assert 0 < figures["puback"]["p50"] <= figures["puback"]["max"]
    assert figures["broker"]["memory_mb"]["before"] <= figures["broker"]["memory_mb"]["most"]
