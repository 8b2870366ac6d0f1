"""Devices for tests: they publish to a real broker, and watch topics there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiomqtt
import mqtt5

from streams.mqtt.address import Address
from tests.parts.process import Part


@asynccontextmanager
async def device(url: str) -> AsyncIterator[aiomqtt.Client]:
    """Connect as a device does."""
    address = Address.parse(url)
    async with aiomqtt.Client(
        address.host, address.port, username=address.username, password=address.password
    ) as client:
        client.pending_calls_threshold = 100_000
        yield client


async def publish(
    url: str, topic: str, payloads: Sequence[bytes], *, qos: int = 1, retain: bool = False
) -> None:
    """Publish and wait until the broker has acknowledged all (QoS 0: until all are sent)."""
    async with device(url) as client:
        for first in range(0, len(payloads), 500):
            some = payloads[first : first + 500]
            await asyncio.gather(*(client.publish(topic, one, qos=qos, retain=retain) for one in some))


@asynccontextmanager
async def watching(url: str, topic_filter: str) -> AsyncIterator[list[tuple[bytes, bool]]]:
    """Collect what is published there, as (payload, whether it was retained)."""
    seen: list[tuple[bytes, bool]] = []

    async def watch(client: aiomqtt.Client) -> None:
        while True:
            message = await anext(client.messages)
            seen.append((bytes(message.payload), message.retain))

    async with device(url) as client:
        await client.subscribe(topic_filter, qos=1)
        watcher = asyncio.create_task(watch(client))
        try:
            yield seen
        finally:
            watcher.cancel()


async def connect_until_closed(broker: Part, client_id: str) -> None:
    """Connect in MQTT 5 and stay until the broker closes the connection.

    By hand, because aiomqtt forgets an end that comes together with the CONNACK.
    """
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    try:
        writer.write(mqtt5.ConnectPacket(client_id, clean_start=False).write())
        await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def take_session(broker: Part, client_id: str) -> bool:
    """Connect in MQTT 5 under a client id; return whether the broker had kept a session, and end that.

    By hand, because aiomqtt does not tell: the flag is the first byte of the CONNACK (3.2.2.1.1).
    """
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    try:
        writer.write(mqtt5.ConnectPacket(client_id, clean_start=False, session_expiry_interval=0).write())
        _kind, _length, flags = await reader.readexactly(3)
        return bool(flags & 1)
    finally:
        writer.close()
