"""What a device can do to others on the broker that docker/secure sets up, while an honest one goes on.

The files are those that are shipped; only ports and paths differ. Each attack is what a device does that has
an account, or has none. After each, everything that the broker had taken from the honest device is a row.
"""

import asyncio
import gc
import resource
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from streams.errors import Outage
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Own, Pipeline
from tests.conftest import real
from tests.parts.authority import Authority
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.worker import Worker

WITH_WILL = 0x04  # MQTT 5, 3.14.2.1: the client leaves, and its will is to be published
V311, V5 = aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5
LEAST = 5
CONNECTIONS = 2_000
PATIENCE_S = 60.0
EVERY_S = 0.1


@dataclass
class Account:
    """What a device was told once."""

    tenant_id: str
    agent_id: str
    username: str
    password: str


class Scene:
    """A pipeline behind the guarded broker, with an honest device and a hostile one of another tenant."""

    def __init__(self, pipeline: Pipeline, broker: GuardedMosquitto, authority: Authority) -> None:
        self.pipeline, self.broker = pipeline, broker
        self.context = ssl.create_default_context(cafile=str(authority.ca))
        self.honest, self.hostile = (
            self.account(tenant, f"edge-{number}") for number, tenant in enumerate(pipeline.tenants)
        )
        self.worker: Worker
        self.taken = 0
        """Messages of the honest device's that the broker has acknowledged."""

    def account(self, tenant: str, agent: str) -> Account:
        """Let a device in."""
        done = call("metric-streams", "provision", "add", tenant, agent, "--json", **self.broker.admin)
        assert done.returncode == 0, done.stderr
        (told,) = msgspec.json.decode(done.stdout)
        return Account(tenant, agent, told["username"], told["password"])

    def client(self, account: Account | None, **options: Any) -> aiomqtt.Client:
        """Return a connection of a device's; of nobody's, without an account."""
        named = {} if account is None else {"username": account.username, "password": account.password}
        port = {"port": self.broker.port, "tls_context": self.context, "protocol": V5, "timeout": 10}
        return aiomqtt.Client(self.broker.host, **{**port, **named, **options})

    def publisher(self, account: Account) -> MqttPublisher:
        """Return a connection of a device's that tells what the broker refuses."""
        return MqttPublisher(self.broker.device(account.username, account.password))

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
        async with self.publisher(self.honest) as publisher:
            while not over.is_set():
                payload = b'{"value": %d}' % self.taken
                assert await publisher.publish(own_topic(self.honest), payload, 1)
                self.taken += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), EVERY_S)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and those that it starts, have many connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * CONNECTIONS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def scene(pipeline: Pipeline, own: Own, tmp_path: Path, many_files: None) -> Scene:  # noqa: ARG001
    """A worker and ingest behind the guarded broker."""
    authority = real(lambda: Authority(tmp_path / "authority"))
    broker = own(lambda: GuardedMosquitto(authority))
    assert isinstance(broker, GuardedMosquitto)
    pipeline.environment |= broker.bridge
    made = Scene(pipeline, broker, authority)
    made.worker = pipeline.worker()
    pipeline.ingest()
    return made


def own_topic(account: Account) -> str:
    return f"metrics/{account.tenant_id}/{account.agent_id}/cpu"


async def half_open(scene: Scene) -> asyncio.StreamWriter:
    """Return a connection that says nothing."""
    _, writer = await asyncio.open_connection(scene.broker.host, scene.broker.port)
    return writer


async def another_tenants_topics_and_the_bridges_are_refused(scene: Scene) -> None:
    honest, hostile = scene.honest, scene.hostile
    forbidden = [
        f"metrics/{honest.tenant_id}/{honest.agent_id}/cpu",
        f"metrics/{hostile.tenant_id}/another-agent/cpu",
        f"metrics/{hostile.tenant_id}/{hostile.agent_id}/cpu/further",
        f"metrics/{hostile.tenant_id}",
        "bridge/status",
        "$CONTROL/dynamic-security/v1",
        "$SYS/broker/version",
        "anything",
    ]
    async with scene.publishing():
        for topic in forbidden:
            with suppress(Outage):  # some end the connection
                async with scene.publisher(hostile) as publisher:
                    assert not await publisher.publish(topic, b'{"value": 666}', 1), topic
        async with scene.publisher(hostile) as publisher:
            assert await publisher.publish(own_topic(hostile), b'{"value": "rejected"}', 1)
    settings = scene.pipeline.environment
    told = call("metric-streams", "rejected", "count", "--json", **settings)
    assert msgspec.json.decode(told.stdout)["messages"] == 1


async def nobody_subscribes(scene: Scene) -> None:
    filters = [
        "#",
        "metrics/#",
        "$share/metric-streams/metrics/#",
        "$share/metric-streams/#",
        f"metrics/{scene.hostile.tenant_id}/#",
        "bridge/status",
        "$SYS/#",
        "$CONTROL/#",
    ]
    async with scene.publishing():
        for each in filters:
            async with scene.client(scene.hostile) as client:
                (granted,) = await client.subscribe(each, qos=1)
                assert int(granted.value) >= 0x80, each  # type: ignore[union-attr]


async def the_clients_id_of_the_bridge_or_of_another_device_is_of_no_use(scene: Scene) -> None:
    """The way in which a bridge without such a broker loses everything: a clean start in its name."""
    ids = [scene.broker.client_id, "metric-streams", scene.honest.username, "bridge", ""]
    async with scene.publishing():
        for client_id in ids:
            async with scene.client(scene.hostile, identifier=client_id, clean_start=True) as client:
                await client.publish(own_topic(scene.hostile), b"no metric", qos=1)
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
                async with scene.client(account):
                    pass
        with pytest.raises(aiomqtt.MqttError):
            async with scene.client(scene.hostile, tls_context=None, timeout=3):
                pass


async def what_would_stay_with_the_broker_is_refused(scene: Scene) -> None:
    """A retained message, one at QoS 2 that is never finished, one of 10 MB, and a will for somebody else."""
    topic = own_topic(scene.hostile)
    others = f"metrics/{scene.honest.tenant_id}/{scene.honest.agent_id}/cpu"
    async with scene.publishing():
        for message in ({"retain": True}, {"qos": 2}, {"payload": b"x" * 10_000_000}):
            for version in (V311, V5):
                with pytest.raises(aiomqtt.MqttError):  # noqa: PT012 - the end is told by the one or by the other
                    async with scene.client(scene.hostile, protocol=version) as client:
                        await client.publish(topic, **{"payload": b"x", "qos": 1, **message}, timeout=10)
                        await anext(aiter(client.messages))
        will = aiomqtt.Will(others, b'{"value": 666}', qos=1)
        with suppress(aiomqtt.MqttError):
            async with scene.client(scene.hostile, will=will) as client:
                client._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=WITH_WILL))
                await anext(aiter(client.messages))
    values = await scene.pipeline.query("select 1 from metrics_raw where value = 666")
    assert values == []


async def two_thousand_connections_that_say_nothing_keep_nobody_out(scene: Scene) -> None:
    opened: list[asyncio.StreamWriter] = []
    try:
        async with scene.publishing():
            while len(opened) < CONNECTIONS:
                opened += await asyncio.gather(*(half_open(scene) for _ in range(100)))
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
