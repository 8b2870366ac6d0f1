"""Accounts of devices on a guarded broker, and connections in their names, or in nobody's."""

import asyncio
import resource
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import aiomqtt
import msgspec

from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.tls import TlsFiles
from tests.parts.commands import call
from tests.parts.guarded_mosquitto import GuardedMosquitto

V5 = aiomqtt.ProtocolVersion.V5


class Account(NamedTuple):
    """What a device was told once."""

    tenant_id: str
    agent_id: str
    username: str
    password: str

    @property
    def topic(self) -> str:
        """One of its own."""
        return f"metrics/{self.tenant_id}/{self.agent_id}/cpu"


class Entrance(NamedTuple):
    """Where devices come in: all that one has to know beside its account."""

    host: str
    port: int
    ca: str
    """The file with the certificate of the CA."""

    @classmethod
    def of(cls, broker: GuardedMosquitto) -> "Entrance":
        """Return that of a broker."""
        address = broker.device("", "")
        return cls(address.host, address.port, address.certificates.ca)

    @property
    def context(self) -> ssl.SSLContext:
        """What trusts the broker."""
        return _trusting(self.ca)

    def client(self, account: Account | None, **options: Any) -> aiomqtt.Client:
        """Return a connection of a device's; of nobody's, without an account."""
        named = {} if account is None else {"username": account.username, "password": account.password}
        port = {"port": self.port, "tls_context": self.context, "protocol": V5, "timeout": 10}
        return aiomqtt.Client(self.host, **{**port, **named, **options})

    def publisher(self, account: Account) -> MqttPublisher:
        """Return a connection of a device's that tells what the broker refuses."""
        certificates = TlsFiles(self.ca)
        known = (account.username, account.password)
        return MqttPublisher(Address("mqtts", self.host, self.port, *known, certificates=certificates))

    async def silent(self) -> asyncio.StreamWriter:
        """Return a connection that says nothing."""
        _, writer = await asyncio.open_connection(self.host, self.port)
        return writer


@lru_cache
def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def let_in(broker: GuardedMosquitto, tenant: str, agent: str, *options: str) -> Account:
    """Let a device in, as an operator does; the options are those of `provision add`."""
    done = call("metric-streams", "provision", "add", tenant, agent, "--json", *options, **broker.admin)
    assert done.returncode == 0, done.stderr
    (told,) = msgspec.json.decode(done.stdout)
    return Account(tenant, agent, told["username"], told["password"])


@contextmanager
def many_files(connections: int) -> Iterator[None]:
    """Let this process, and those that it starts, have so many connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(hard, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
