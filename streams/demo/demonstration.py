"""``./dev run``: the whole pipeline on one machine, with a simulated device, watched and accounted for."""

import asyncio
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from streams.demo import messages as wording
from streams.demo.attached import attachable
from streams.demo.counters import Watcher
from streams.demo.display import Display
from streams.demo.fleet import Fleet
from streams.demo.ledger import Ledger, reconcile
from streams.demo.parts import MqttBroker
from streams.demo.pipeline import Pipeline
from streams.demo.readers import Topics, read_rows
from streams.demo.simulation import PlannedPublication, Shares, Simulation
from streams.demo.stack import Stack
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.tasks import ended

TENANTS = {
    UUID("11111111-1111-4111-8111-111111111111"): "Aurora Energy",
    UUID("33333333-3333-4333-8333-333333333333"): "Borealis Logistics",
}
"""Two whose messages go to different partitions of metrics.raw."""
RATE = 20.0
SHARES = Shares(duplicates=0.05, corrections=0.02, malformed=0.05)
DRAIN_TIMEOUT_S = 30.0
DRAIN_POLL_S = 0.25
LOOK_EVERY_S = 1.0


class Demonstration:
    """One run.

    Args:
        seconds: how long the device sends; None until it is interrupted.
        display: where it shows itself.
    """

    def __init__(self, seconds: float | None, display: Display) -> None:
        self._seconds = seconds
        self._display = display
        self._sent: list[PlannedPublication] = []
        self._hurry = asyncio.Event()
        self._give_up: Callable[[], object] = lambda: None

    async def run(self) -> tuple[Ledger, bool]:
        """Start everything, send, wait until all has arrived, and stop everything.

        Returns:
            What became of the messages, and whether every part did as it should.

        Raises:
            PartFailed: if a part does not start, or dies.
        """
        say = self._display.say
        task = asyncio.current_task()
        self._give_up = task.cancel if task else self._give_up
        async with Stack(say) as stack:
            say("Starting (a program on PATH is used before the one from a wheel):")
            began = time.monotonic()
            pipeline = await Pipeline.start(stack, TENANTS)
            say(f"  all ready  {time.monotonic() - began:5.1f} s")
            say(wording.introduction(pipeline, stack.directory, next(iter(TENANTS))))
            async with AsyncExitStack() as clients:
                clients.enter_context(attachable(stack.directory, pipeline.environment))
                topics = await clients.enter_async_context(Topics(pipeline.settings))
                connection = await connected(clients, pipeline)
                watcher = Watcher(pipeline, await connected(clients, pipeline), lambda: len(self._sent))
                await stack.unless_a_part_dies(self._carry(pipeline, watcher, topics, connection))
                # Once more without the worker and ingest: nothing may change by their end.
                await stack.stop(pipeline.worker, pipeline.ingest)
                ledger = await self._count(topics, connection)
            # Then the logs are kept, by which it can be found out why.
            stack.failed |= not ledger.adds_up
            await stack.stop()
            return ledger, not stack.failed

    async def _carry(
        self, pipeline: Pipeline, watcher: Watcher, topics: Topics, connection: asyncpg.Connection
    ) -> None:
        """Send until the end, and wait until all has arrived; show it meanwhile."""
        began = time.monotonic()
        report = asyncio.create_task(self._report(watcher, began), name="report")
        try:
            await self._send(pipeline.mqtt)
            self._display.say("Ending: waiting until all of it has arrived ...")
            await self._drain(topics, connection)
            await ended(report)
            self._display.show(await watcher.look(time.monotonic() - began))
        finally:
            report.cancel()
            self._display.close()

    async def _send(self, mqtt: MqttBroker) -> None:
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
            await fleet.run()

    def _stop_by(self, stop: Callable[[], None]) -> None:
        """Stop sending in time, or when asked to; asked again, stop waiting; asked once more, give up."""
        loop = asyncio.get_running_loop()
        if self._seconds is not None:
            loop.call_later(self._seconds, stop)
        steps = iter((stop, self._hurry.set))

        def interrupt() -> None:
            next(steps, self._give_up)()

        # A terminal that is closed sends SIGHUP, and its servers must not stay behind.
        for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(caught, interrupt)

    async def _report(self, watcher: Watcher, began: float) -> None:
        """Show once a second what flows."""
        while True:
            self._display.show(await watcher.look(time.monotonic() - began))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _drain(self, topics: Topics, connection: asyncpg.Connection) -> None:
        """Wait until the ledger adds up; give up in time, or when a second interrupt asks for it."""
        # What has not arrived by then is missing, as the ledger will say.
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while time.monotonic() < deadline and not self._hurry.is_set():
            if (await self._count(topics, connection)).adds_up:
                return
            await asyncio.sleep(DRAIN_POLL_S)

    async def _count(self, topics: Topics, connection: asyncpg.Connection) -> Ledger:
        await topics.catch_up()
        rows = await read_rows(connection)
        return reconcile(self._sent, rows, topics.raw, topics.unique, topics.rejected)


async def connected(clients: AsyncExitStack, pipeline: Pipeline) -> asyncpg.Connection:
    """Return a connection to the database, which ends with the clients."""
    connection = await asyncpg.connect(pipeline.postgres.url)
    clients.push_async_callback(connection.close)
    return connection
