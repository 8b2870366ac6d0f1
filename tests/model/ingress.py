"""One process's ingress: the real one, at the shared broker and the shared metrics.raw."""

import asyncio
from typing import TYPE_CHECKING

from agents.ingress import Ingress
from streams.counters import Statistics
from streams.errors import Outage
from streams.ingress.lease import Lease
from streams.ingress.testing import FakeChunkWriter, FakeTermSource
from streams.mqtt.testing import FakeConnection, FakeTransport

if TYPE_CHECKING:
    from tests.model.world import World


class Door:
    """The way to the broker, shut for a process that has died."""

    def __init__(self, broker: FakeTransport) -> None:
        self.shut = False
        self._broker = broker

    async def connect(self) -> FakeConnection:
        if self.shut:
            await asyncio.get_running_loop().create_future()
        return await self._broker.connect()


class IngressProcess:
    """Carries, from `start` until it dies or another leads."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._door = Door(world.broker)
        self.writer = FakeChunkWriter(world.history.landed, world.raw, clock=lambda: world.now)
        self._term_source = FakeTermSource()
        self.writer.away = True  # Kafka answers when the model says so
        self.ingress = Ingress(
            world.settings,
            Statistics(),
            self._door,
            self.writer,
            term_source=self._term_source,
            lease=Lease(8.0),
            sleep=lambda _seconds: asyncio.sleep(0),
            monotonic=lambda: world.now,
        )

    def start(self) -> None:
        self._world.run(self.ingress.lead())
        self._world.breathe()

    def cease_to_lead(self) -> None:
        """Lose the leadership in Kafka's group, which shows when the group is asked next."""
        self._term_source.refusal = Outage("kafka", "another worker leads")

    def die(self) -> None:
        """End at once; what was on its way to Kafka may still get there."""
        self._door.shut = True
        self._world.broker.lose()
        self._world.breathe()

    @property
    def landable(self) -> list[int]:
        """The places among the records held of those that Kafka may take next: each partition's first."""
        partitions = self.writer.held_partitions
        return sorted(partitions.index(partition) for partition in set(partitions))

    def land(self, number: int) -> None:
        """Let Kafka take one of the records that may be next, if there is any."""
        if landable := self.landable:
            self.writer.release(landable[number % len(landable)])

    def lose_answer(self, number: int) -> None:
        """Let Kafka take one of the records that may be next, and break off before it says so."""
        if landable := self.landable:
            self.writer.lose_answer(landable[number % len(landable)])

    def close(self) -> None:
        """Leave nothing behind in the event loop."""
        self.die()
        self.writer.fail_held()
        self._world.breathe()
        self._world.run(self.ingress.stand_by())
