"""Measures what Mosquitto forgets when it is killed: ``python -m tests.faults.broker_crash``.

With the configuration that is shipped, devices publish at QoS 1 while the bridge is away or connected; then
the broker ends as a power cut would end it, and starts again. What it had acknowledged and neither delivered
nor kept is lost. One JSON line.
"""

import asyncio
import json
import random
import statistics
from typing import Any

from streams.counters import Statistics
from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.mqtt.select_transport import transport_of
from streams.mqtt.transport import Connection
from streams.settings import Settings
from tests.faults.pace import pass_time
from tests.parts.mosquitto import Mosquitto

RATE, RUNS = 1_000, 6
SHORTEST_S, LONGEST_S = 5.0, 25.0
"""Around more than one interval of the broker's saves (autosave_interval 10)."""
SILENCE_S = 2.0


class Bridge:
    """Receives and acknowledges, in a session that the broker keeps."""

    def __init__(self, broker: Mosquitto) -> None:
        self.received: set[bytes] = set()
        settings = Settings.from_mapping({"MQTT_URL": broker.url, "MQTT_TOPIC_FILTER": "crash/#"})
        self._transport = transport_of(settings, Statistics())

    async def connect(self) -> Connection:
        """Open a connection."""
        connection = await self._transport.connect()
        await connection.open()
        return connection

    async def receive(self, connection: Connection) -> None:
        """Take what comes until the connection ends or nothing more comes."""
        while not connection.closed.done():
            publications = await connection.receive(SILENCE_S)
            if not publications:
                return
            self.received.update(publication.payload for publication in publications)
            connection.acknowledge([one.token for one in publications if one.token is not None])


async def one_run(seconds: float, *, connected: bool) -> tuple[int, int]:
    """Return how many messages were acknowledged to the device, and how many of them are lost."""
    with Mosquitto() as broker:
        bridge = Bridge(broker)
        connection = await bridge.connect()
        receiving = None
        if connected:
            receiving = asyncio.create_task(bridge.receive(connection))
        else:
            await connection.close()
        acked: set[bytes] = set()
        publishing = asyncio.create_task(_publish(broker, acked))
        await pass_time(seconds)
        await asyncio.to_thread(broker.kill)
        await publishing
        if receiving is not None:
            await receiving
        await asyncio.to_thread(broker.start)
        again = await bridge.connect()
        await bridge.receive(again)
        await again.close()
        return len(acked), len(acked - bridge.received)


async def _publish(broker: Mosquitto, acked: set[bytes]) -> None:
    """Publish at the rate until the connection ends."""
    try:
        async with MqttPublisher(Address.parse(broker.url)) as publisher:
            number, over = 0, asyncio.Event()
            while not over.is_set():
                await pass_time(0.01)
                for _ in range(RATE // 100):
                    number += 1
                    _send(publisher, b"%d" % number, acked, over)
    except Outage:
        return


def _send(publisher: MqttPublisher, payload: bytes, acked: set[bytes], over: asyncio.Event) -> None:
    def answered(answer: "asyncio.Future[bool]") -> None:
        if answer.exception() is not None:
            over.set()
        elif answer.result():
            acked.add(payload)

    publisher.publish("crash/load", payload, 1).add_done_callback(answered)


async def main() -> None:
    """Measure both cases."""
    dice = random.Random(1)  # noqa: S311 - repeatable is what it must be
    report: dict[str, Any] = {"rate": RATE, "runs": RUNS}
    for name, connected in (("bridge_away", False), ("bridge_connected", True)):
        lost = []
        for _ in range(RUNS):
            _, missing = await one_run(dice.uniform(SHORTEST_S, LONGEST_S), connected=connected)
            lost.append(missing)
        report[name] = {"lost_median": statistics.median(lost), "lost_most": max(lost), "lost": lost}
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main())
