"""Ingress of the model: the real carrier between a broker and a Kafka in memory, one connection at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from streams.errors import ConnectionLost, DeliveryFailed, MetricStreamsError
from streams.kafka.fake import FakeRecord
from streams.kafka.fake_chunk_writer import FakeChunkWriter
from streams.kafka.fake_chunk_writer import FakeRecord as Written
from streams.mqtt.carrier import Carrier
from streams.mqtt.fake import FakeTransport
from streams.settings import Settings
from streams.statistics import Statistics
from tests.model.parts import Outside

TURNS = 25
"""Of the event loop: more than a message takes from the broker to the writer."""


class Writer(FakeChunkWriter):
    """Appends to metrics.raw, and can lose Kafka's answer."""

    def __init__(self, outside: Outside) -> None:
        super().__init__(
            lambda record: outside.raw[record.partition].append(FakeRecord(record.value, record.headers))
        )
        self.away = True

    def lose_answer(self) -> None:
        """Take the oldest record that is held, and say that it was not taken."""
        if self.held and self.on_write is not None:
            written, partition, value, headers = self._held.pop(0)
            self.on_write(Written(partition, 0, value, dict(headers)))
            written.set_exception(DeliveryFailed("metrics.raw", "the answer was lost"))


class Bridge:
    """The broker and whoever carries from it.

    Attributes:
        broker: keeps what was published until it is acknowledged.
        published: everything, in order.
    """

    def __init__(self, outside: Outside, settings: Settings, receive_maximum: int) -> None:
        self.broker = FakeTransport(receive_maximum=receive_maximum)
        self.published: list[tuple[str, bytes]] = []
        self._outside, self._settings = outside, settings

    def publish(self, topic: str, payload: bytes) -> None:
        """Let a device publish."""
        self.published.append((topic, payload))
        self.broker.publish(topic, payload)

    async def carry(self, releases: Sequence[int], *, lose_answer: bool) -> None:
        """Connect, carry, and end without warning.

        Args:
            releases: which of the chunks that Kafka holds back it takes next, one after the other.
            lose_answer: whether Kafka then takes one more, and the answer is lost.
        """
        writer = Writer(self._outside)
        await writer.open()
        connection = await self.broker.connect()
        carrier = Carrier(self._settings, Statistics(), connection, writer, monotonic=lambda: 0.0)
        running = asyncio.create_task(carrier.run())
        for place in releases:
            await _turns()
            if writer.held:
                writer.release(place % writer.held)
        await _turns()
        if lose_answer:
            writer.lose_answer()
        await _turns()
        connection.drop(ConnectionLost("the process is gone"))
        running.cancel()
        with suppress(asyncio.CancelledError, MetricStreamsError):
            await running
        carrier.abandon()
        writer.fail_held()
        await _turns()

    async def carry_all(self) -> None:
        """Carry until the broker has nothing left."""
        while self.broker.waiting:
            await self.carry([0] * 20, lose_answer=False)


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
