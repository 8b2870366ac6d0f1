"""The embedded MQTT broker, which speaks MQTT 3.1.1 alone, within the test's own event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amqtt.broker import Broker

from tests.parts.ports import free_port


@asynccontextmanager
async def amqtt_broker() -> AsyncIterator[str]:
    """Run the broker; yields its URL."""
    port = free_port()
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
            },
        }
    )
    await broker.start()
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        await broker.shutdown()
