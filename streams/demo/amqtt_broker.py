"""The process of the `Amqtt` part: ``python -m streams.demo.amqtt_broker PORT``.

amqtt 0.12 speaks MQTT 3.1.1 alone. It should refuse a CONNECT of version 5, so that the client comes back
with the older one (MQTT 3.1.1, 3.1.2.2), but first reads the rest of it by the older rules and, if there is a
will or a password, waits for bytes that never come. So here the version decides before the rest is read.
"""

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from typing import Any

from amqtt.broker import Broker
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader

from streams.demo.ports import HOST

SPOKEN_LEVEL = 4  # MQTT 3.1.1, 3.1.2.2
SHUTDOWN_LIMIT_S = 2.0
"""It keeps nothing, and from Python 3.12 on waits for connections that nobody closes."""


class VersionFirst(ConnectPayload):  # type: ignore[misc]  # amqtt's classes are untyped to us
    """What follows the version in a CONNECT, left unread where it is of another version."""

    @classmethod
    async def from_stream(cls, reader: Any, fixed_header: Any, variable_header: ConnectVariableHeader) -> Any:
        """Read it; of another version, return what passes all checks but that of the version."""
        if variable_header.proto_level != SPOKEN_LEVEL:
            return cls("of another version", will_topic="", will_message=b"")
        return await super().from_stream(reader, fixed_header, variable_header)


async def serve(port: int) -> None:
    """Run the broker until SIGTERM."""
    ConnectPacket.PAYLOAD = VersionFirst
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await stopped.wait()
    with suppress(TimeoutError):
        await asyncio.wait_for(broker.shutdown(), SHUTDOWN_LIMIT_S)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("transitions").setLevel(logging.WARNING)
    asyncio.run(serve(int(sys.argv[1])))
