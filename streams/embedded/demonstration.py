"""``./dev run``: the whole pipeline on one machine, with a simulated device, watched and accounted for."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from streams.devices import Fleet
from streams.embedded import wording
from streams.embedded.evidence import Topics, count_rows, read_rows
from streams.embedded.ledger import Ledger, reconcile
from streams.embedded.parts import MqttBroker, Postgres, Redis, Tansu, mqtt_broker, unprivileged_user
from streams.embedded.ports import free_ports
from streams.embedded.services import Ingest, Worker
from streams.embedded.stack import Stack
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.postgres.schema import apply_schema
from streams.postgres.tenant_admin import add_tenant
from streams.settings import Settings
from streams.simulation import Publication, Shares, Simulation

TENANTS = {
    UUID("11111111-1111-4111-8111-111111111111"): "Aurora Energy",
    UUID("22222222-2222-4222-8222-222222222222"): "Borealis Logistics",
}
RATE = 20.0
SHARES = Shares(duplicates=0.05, corrections=0.02, malformed=0.05)
DRAIN_TIMEOUT_S = 30.0
DRAIN_POLL_S = 0.25


class Servers(NamedTuple):
    """The parts that are not the project's own."""

    kafka: Tansu
    redis: Redis
    mqtt: MqttBroker
    postgres: Postgres

    def settings(self, worker_port: int, ingest_port: int) -> dict[str, str]:
        """Return the project's settings for these servers, as an environment."""
        return {
            "BROKER_URL": self.kafka.url,
            "PRODUCER_IDEMPOTENCE": "false",  # Tansu has no InitProducerId
            "REDIS_URL": self.redis.url,
            "MQTT_URL": self.mqtt.url,
            "DATABASE_URL": self.postgres.url,
            "WEB_PORT": str(worker_port),
            "INGEST_WEB_PORT": str(ingest_port),
        }


class Demonstration:
    """One run.

    Args:
        seconds: how long the device sends; None until it is interrupted.
        tell: prints a line.
    """

    def __init__(self, seconds: float | None, tell: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._tell = tell
        self._sent: list[Publication] = []
        self._hurry = asyncio.Event()

    async def run(self) -> tuple[Ledger, bool]:
        """Start everything, send, wait until all has arrived, and stop everything.

        Returns:
            What became of the messages, and whether every part did as it should.

        Raises:
            PartFailed: if a part does not start, or dies.
        """
        async with Stack(self._tell) as stack:
            self._tell("Starting (a program on PATH is used before the one from a wheel):")
            servers, settings = await self._start(stack)
            async with AsyncExitStack() as clients:
                connection = await asyncpg.connect(servers.postgres.url)
                clients.push_async_callback(connection.close)
                topics = await clients.enter_async_context(Topics(settings))
                await stack.unless_a_part_dies(self._send(servers.mqtt, topics, connection))
                self._tell("Waiting until all of it has arrived ...")
                await stack.unless_a_part_dies(self._drain(topics, connection))
                # Once more without the worker and ingest: nothing may change by their end.
                await stack.stop(down_to=servers.mqtt)
                ledger = await self._count(topics, connection)
            stack.failed |= not ledger.adds_up
            await stack.stop()
            return ledger, not stack.failed

    async def _start(self, stack: Stack) -> tuple[Servers, Settings]:
        began = time.monotonic()
        ports = free_ports(6)
        servers = await self._start_servers(stack, ports)
        await set_up_database(servers.postgres.url)
        environment = servers.settings(*ports[4:])
        worker = Worker(stack.directory / "worker", ports[4], environment)
        ingest = Ingest(stack.directory / "ingest", ports[5], environment)
        for service in (ingest, worker):
            await stack.unless_a_part_dies(stack.start(service))
        self._tell(f"  all ready  {time.monotonic() - began:5.1f} s")
        self._tell(wording.addresses(servers, (worker, ingest), stack, next(iter(TENANTS))))
        return servers, Settings.from_mapping(environment)

    async def _start_servers(self, stack: Stack, ports: list[int]) -> Servers:
        user = unprivileged_user() if os.geteuid() == 0 else None
        servers = Servers(
            Tansu(stack.directory / "kafka", ports[0]),
            Redis(stack.directory / "redis", ports[1]),
            mqtt_broker(stack.directory / "mqtt", ports[2]),
            Postgres(stack.directory / "postgres", ports[3], user),
        )
        for part in (servers.postgres, servers.redis, servers.kafka, servers.mqtt):
            await stack.start(part)
        return servers

    async def _send(self, mqtt: MqttBroker, topics: Topics, connection: asyncpg.Connection) -> None:
        async with MqttPublisher(Address.parse(mqtt.url)) as publisher:
            simulation = Simulation(
                [str(tenant) for tenant in TENANTS],
                shares=SHARES,
                seed=secrets.randbits(32),
                start=datetime.now(UTC),
                step=timedelta(seconds=1 / RATE),
            )
            fleet = Fleet(simulation, publisher, rate=RATE, on_sent=self._sent.append)
            self._stop_by(fleet.stop)
            report = asyncio.create_task(self._report(topics, connection), name="report")
            try:
                await fleet.run()
            finally:
                report.cancel()

    def _stop_by(self, stop: Callable[[], None]) -> None:
        """Stop sending after the time given, or at the first interrupt; at the second, stop waiting, too."""
        loop = asyncio.get_running_loop()
        if self._seconds is not None:
            loop.call_later(self._seconds, stop)
        interrupted = asyncio.Event()

        def interrupt() -> None:
            (self._hurry.set if interrupted.is_set() else stop)()
            interrupted.set()

        for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(caught, interrupt)

    async def _report(self, topics: Topics, connection: asyncpg.Connection) -> None:
        """Tell once a second what flows."""
        seen = topics.tally.rejected.copy()
        for second in range(1, 1_000_000_000):
            await asyncio.sleep(1)
            rows = await count_rows(connection)
            self._tell(
                wording.flow(second, len(self._sent), topics.tally, rows, topics.tally.rejected - seen)
            )
            seen = topics.tally.rejected.copy()

    async def _drain(self, topics: Topics, connection: asyncpg.Connection) -> None:
        """Wait until the ledger adds up; give up in time, or when a second interrupt asks for it."""
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while time.monotonic() < deadline and not self._hurry.is_set():
            if (await self._count(topics, connection)).adds_up:
                return
            await asyncio.sleep(DRAIN_POLL_S)

    async def _count(self, topics: Topics, connection: asyncpg.Connection) -> Ledger:
        await topics.catch_up()
        rows = await read_rows(connection)
        return reconcile(self._sent, rows, topics.raw, topics.unique, topics.rejected)


async def set_up_database(url: str) -> None:
    """Create the tables and the tenants."""
    connection = await asyncpg.connect(url)
    try:
        await apply_schema(connection)
        for tenant_id, name in TENANTS.items():
            await add_tenant(connection, name, tenant_id)
    finally:
        await connection.close()
