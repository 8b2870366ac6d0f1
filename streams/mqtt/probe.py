"""A look at the broker from beside: what it offers, what it grants, and what comes, for a moment.

Under a name of its own, in a session that ends with the connection: neither the worker's session nor its
status is touched. Used by the doctor.
"""

import asyncio
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
from paho.mqtt.client import Client as Paho
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.aiomqtt_connection import code_of
from streams.mqtt.answers import HINTS, UNSPECIFIED, unreached
from streams.mqtt.options import aiomqtt_options
from streams.mqtt.topics import matches
from streams.mqtt.transport import MqttSession
from streams.settings import Settings

TIMEOUT_S = 4.0
LISTEN_S = 3.0
ENOUGH = 50
"""So many messages tell that the filter matches."""
UNSUPPORTED_PROTOCOL = 0x84  # MQTT 5, 3.2.2.2; paho gives it for the 0x01 of 3.1.1, too
VERSION, DROPPED = "$SYS/broker/version", "$SYS/broker/publish/messages/dropped"
"""Where Mosquitto tells its version, and how many messages it has dropped since its start."""
EVERYTHING = "#"
V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
TOPICS_SHOWN = 3


@dataclass
class ProbeResult:
    """What was seen."""

    protocol: str = ""
    """The version of MQTT that is spoken: "5" or "3.1.1"."""
    max_qos: int = 2
    refusal: str = ""
    """Why the broker does not grant our filter at QoS 1; empty if it does."""
    refusal_mend: str = ""
    matching: int = 0
    """How many messages came that our filter lets through."""
    others: Counter[str] = field(default_factory=Counter)
    """How many came on other topics, by the topic's first level."""
    statuses: list[str] = field(default_factory=list)
    """What was said on the status topic, the retained one first."""
    version: str = ""
    dropped: int = 0


class _ProbeClient(aiomqtt.Client):
    """aiomqtt's client, which keeps the broker's terms."""

    terms: Properties | None = None

    def _on_connect(
        self, client: Paho, userdata: Any, flags: Any, reason_code: Any, properties: Properties | None = None
    ) -> None:
        self.terms = properties
        super()._on_connect(client, userdata, flags, reason_code, properties)


async def look(settings: Settings, session: MqttSession) -> ProbeResult:
    """Look for some seconds; shorter where enough comes.

    Args:
        settings: name the broker.
        session: what the worker subscribes to, and where it tells its status.

    Raises:
        Outage: the broker is not reached or refuses us.
    """
    address = Address.of(settings)
    name = f"{settings.mqtt_client_id}-doctor-{secrets.token_hex(4)}"
    seen = ProbeResult()
    try:
        await _look(address, name, session, seen)
    except aiomqtt.MqttError as error:
        raise Outage("mqtt", f"{address}: {unreached(error, address)}") from error
    return seen


async def _look(address: Address, name: str, session: MqttSession, seen: ProbeResult) -> None:
    try:
        await _look_in(V5, address, name, session, seen)
    except aiomqtt.MqttCodeError as refusal:
        if code_of(refusal) != UNSUPPORTED_PROTOCOL:
            raise
        await _look_in(V311, address, name, session, seen)


async def _look_in(
    version: aiomqtt.ProtocolVersion, address: Address, name: str, session: MqttSession, seen: ProbeResult
) -> None:
    async with _client(version, address, name) as client:
        seen.protocol = "5" if version is V5 else "3.1.1"
        seen.max_qos = getattr(client.terms, "MaximumQoS", 2)
        seen.refusal, seen.refusal_mend = await _subscribe(client, session.topic_filter, version)
        for more in (session.status_topic, VERSION, DROPPED, EVERYTHING):
            # Whatever of these is refused is merely not told.
            await client.subscribe(more, qos=0)
        try:
            async with asyncio.timeout(LISTEN_S):
                await _listen(client, session, seen)
        except TimeoutError:
            pass


async def _subscribe(
    client: _ProbeClient, topic_filter: str, version: aiomqtt.ProtocolVersion
) -> tuple[str, str]:
    """Subscribe as the worker does, without retained messages; return why it is not granted, and the mend."""
    options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    granted = await (
        client.subscribe(topic_filter, options=options)
        if version is V5
        else client.subscribe(topic_filter, qos=1)
    )
    answer: Any = granted[0]
    code = code_of(answer) if version is V5 else int(getattr(answer, "value", answer))
    if code == 1:
        return "", ""
    number = UNSPECIFIED if code is None else code
    return f"subscribing to {topic_filter} at QoS 1 was answered with {answer}", HINTS.get(number, "")


async def _listen(client: _ProbeClient, session: MqttSession, seen: ProbeResult) -> None:
    async for message in client.messages:
        topic, payload = str(message.topic), message.payload
        text = payload.decode(errors="replace") if isinstance(payload, bytes | bytearray) else ""
        if topic == session.status_topic:
            _note_status(seen, text)
        elif topic == VERSION:
            seen.version = text.strip()
        elif topic == DROPPED:
            seen.dropped = int(text) if text.strip().isdigit() else 0
        # Retained ones tell nothing of who publishes now, and those below $ are the broker's own.
        elif message.retain or topic.startswith("$"):
            continue
        elif matches(session.topic_filter, topic):
            seen.matching += 1
            # On a busy broker the answer is known long before the time is over.
            if seen.matching >= ENOUGH:
                return
        elif len(seen.others) < TOPICS_SHOWN or topic.split("/", maxsplit=1)[0] in seen.others:
            seen.others[topic.split("/", maxsplit=1)[0]] += 1


def _note_status(seen: ProbeResult, status: str) -> None:
    """Keep what was said; the subscription to everything may bring it twice."""
    if not seen.statuses or seen.statuses[-1] != status:
        seen.statuses.append(status)


def _client(version: aiomqtt.ProtocolVersion, address: Address, name: str) -> _ProbeClient:
    clean: dict[str, Any] = {"clean_start": True} if version is V5 else {"clean_session": True}
    return _ProbeClient(
        identifier=name,
        protocol=version,
        timeout=TIMEOUT_S,
        **clean,
        **aiomqtt_options(address),
    )
