"""What a device can do to others on the broker that docker/secure sets up, while an honest one goes on.

The files are those that are shipped; only ports and paths differ. Each attack is what a device does that has
an account, or has none. After each, everything that the broker had taken from the honest device is a row.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from streams.errors import Outage
from tests.acceptance.conftest import Own, Pipeline
from tests.conftest import real
from tests.parts.accounts import V5, Account, Entrance, let_in, many_files
from tests.parts.authority import Authority
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.forbidden import filters, foreign_topics, odd_topics
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.raw_mqtt import ACCEPTED, TAKEN, connect_packet, publish_packet, raw_device
from tests.parts.worker import Worker

WITH_WILL = 0x04  # MQTT 5, 3.14.2.1: the client leaves, and its will is to be published
V311 = aiomqtt.ProtocolVersion.V311
LEAST = 5
CONNECTIONS = 2_000
PATIENCE_S = 60.0
EVERY_S = 0.1


class Scene:
    """A pipeline behind the guarded broker, with an honest device and a hostile one of another tenant."""

    def __init__(self, pipeline: Pipeline, broker: GuardedMosquitto) -> None:
        self.pipeline, self.broker = pipeline, broker
        self.entrance = Entrance.of(broker)
        self.honest, self.hostile = (
            let_in(broker, tenant, f"edge-{number}") for number, tenant in enumerate(pipeline.tenants)
        )
        self.worker: Worker
        self.taken = 0
        """Messages of the honest device's that the broker has acknowledged."""

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Let the honest device publish ten times a second; in the end, all that was taken has landed."""
        before, over = self.taken, asyncio.Event()
        honest = asyncio.create_task(self._publish(over), name="the honest device")
        try:
            yield
            await eventually(lambda: self.taken >= before + LEAST, PATIENCE_S)
        finally:
            over.set()
            await honest

        async def landed() -> bool:
            return len(await self.pipeline.query("select 1 from metrics_raw")) == self.taken

        await eventually(landed, PATIENCE_S, interval_s=0.3)

    async def _publish(self, over: asyncio.Event) -> None:
        async with self.entrance.publisher(self.honest) as publisher:
            while not over.is_set():
                payload = b'{"value": %d}' % self.taken
                assert await publisher.publish(self.honest.topic, payload, 1)
                self.taken += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), EVERY_S)


@pytest.fixture
def own_limit() -> Iterator[None]:
    """Let this process, and the broker, have the connections of the last attack open."""
    with many_files(CONNECTIONS):
        yield


@pytest.fixture
async def scene(pipeline: Pipeline, own: Own, tmp_path: Path, own_limit: None) -> Scene:  # noqa: ARG001
    """A worker and ingest behind the guarded broker."""
    authority = real(lambda: Authority(tmp_path / "authority"))
    broker = own(lambda: GuardedMosquitto(authority))
    assert isinstance(broker, GuardedMosquitto)
    pipeline.environment |= broker.bridge
    made = Scene(pipeline, broker)
    made.worker = pipeline.worker()
    pipeline.ingest()
    return made


def rejected_messages(scene: Scene) -> int:
    told = call("metric-streams", "rejected", "count", "--json", **scene.pipeline.environment)
    return int(msgspec.json.decode(told.stdout)["messages"])


async def another_tenants_topics_and_the_bridges_are_refused(scene: Scene) -> None:
    hostile = scene.hostile
    async with scene.publishing():
        for topic in foreign_topics(scene.honest, hostile):
            with suppress(Outage):  # some end the connection
                async with scene.entrance.publisher(hostile) as publisher:
                    assert not await publisher.publish(topic, b'{"value": 666}', 1), topic
        async with scene.entrance.publisher(hostile) as publisher:
            assert await publisher.publish(hostile.topic, b'{"value": "rejected"}', 1)
    assert rejected_messages(scene) == 1


async def nobody_subscribes(scene: Scene) -> None:
    async with scene.publishing():
        for each in filters(scene.hostile):
            async with scene.entrance.client(scene.hostile) as client:
                (granted,) = await client.subscribe(each, qos=1)
                assert int(granted.value) >= 0x80, each  # type: ignore[union-attr]


async def the_clients_id_of_the_bridge_or_of_another_device_is_of_no_use(scene: Scene) -> None:
    """The way in which a bridge without such a broker loses everything: a clean start in its name."""
    ids = [scene.broker.client_id, "metric-streams", scene.honest.username, "bridge", ""]
    async with scene.publishing():
        for client_id in ids:
            async with scene.entrance.client(scene.hostile, identifier=client_id, clean_start=True) as client:
                await client.publish(scene.hostile.topic, b"no metric", qos=1)
        taken = scene.taken
        await eventually(lambda: scene.taken > taken + LEAST, PATIENCE_S)
    assert "another client" not in scene.worker.log_text()


async def nobody_comes_in_without_an_account_or_in_clear(scene: Scene) -> None:
    wrong = [
        Account("", "", scene.hostile.username, "wrong"),
        Account("", "", "bridge", "metric-streams"),
        Account("", "", "admin", "admin"),
        Account("", "", "#", "x"),
        Account("", "", "\u202e" * 100, "x" * 60_000),
        None,
    ]
    async with scene.publishing():
        for account in wrong:
            with pytest.raises(aiomqtt.MqttError):
                async with scene.entrance.client(account):
                    pass
        with pytest.raises(aiomqtt.MqttError):
            async with scene.entrance.client(scene.hostile, tls_context=None, timeout=3):
                pass


async def what_would_stay_with_the_broker_is_refused(scene: Scene) -> None:
    """A retained message, one at QoS 2 that is never finished, one of 10 MB, and a will for somebody else."""
    topic = scene.hostile.topic
    async with scene.publishing():
        for message in ({"retain": True}, {"qos": 2}, {"payload": b"x" * 10_000_000}):
            for version in (V311, V5):
                with pytest.raises(aiomqtt.MqttError):  # noqa: PT012 - the end is told by the one or by the other
                    async with scene.entrance.client(scene.hostile, protocol=version) as client:
                        await client.publish(topic, **{"payload": b"x", "qos": 1, **message}, timeout=10)
                        await anext(aiter(client.messages))
        will = aiomqtt.Will(scene.honest.topic, b'{"value": 666}', qos=1)
        with suppress(aiomqtt.MqttError):
            async with scene.entrance.client(scene.hostile, will=will) as client:
                client._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=WITH_WILL))
                await anext(aiter(client.messages))
    values = await scene.pipeline.query("select 1 from metrics_raw where value = 666")
    assert values == []


async def odd_names_are_refused_or_rejected(scene: Scene) -> None:
    """Sent as bytes: a library of clients would refuse most of them itself."""
    before, taken = rejected_messages(scene), 0
    async with scene.publishing():
        for topic in odd_topics(scene.hostile):
            async with raw_device(scene.entrance) as device:
                device.send(connect_packet(scene.hostile) + publish_packet(topic, 1))
                connected, answer, *_ = await device.answers(2)
                assert connected == ACCEPTED
                assert answer not in TAKEN or topic.startswith(scene.hostile.topic[:-3].encode()), topic[:100]
                taken += answer in TAKEN
    # None has become a row: the honest device's have been counted.
    await eventually(lambda: rejected_messages(scene) == before + taken, PATIENCE_S)
    assert taken > 0


async def two_thousand_connections_that_say_nothing_keep_nobody_out(scene: Scene) -> None:
    opened: list[asyncio.StreamWriter] = []
    try:
        async with scene.publishing():
            while len(opened) < CONNECTIONS:
                opened += await asyncio.gather(*(scene.entrance.silent() for _ in range(100)))
            taken = scene.taken
            await eventually(lambda: scene.taken > taken + LEAST, PATIENCE_S)
    finally:
        for writer in opened:
            writer.close()


ATTACKS = (
    another_tenants_topics_and_the_bridges_are_refused,
    nobody_subscribes,
    the_clients_id_of_the_bridge_or_of_another_device_is_of_no_use,
    nobody_comes_in_without_an_account_or_in_clear,
    what_would_stay_with_the_broker_is_refused,
    odd_names_are_refused_or_rejected,
    two_thousand_connections_that_say_nothing_keep_nobody_out,
)


# paho leaves the socket of a connection that was refused to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_no_attack_reaches_more_than_the_attackers_own_topics(scene: Scene) -> None:
    """One after the other on one pipeline, which is most of what it takes."""
    for attack in ATTACKS:
        try:
            await attack(scene)
        except BaseException as error:
            error.add_note(f"the attack: {attack.__name__}")
            raise
    gc.collect()  # so that it complains here
