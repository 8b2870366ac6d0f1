"""One connection on aiomqtt, in MQTT 5 or 3.1.1: what it delivers, and what it asks of the broker.

Made by ``streams/mqtt/aiomqtt_transport.py``.
"""

import asyncio
import contextlib
import math
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from streams.errors import ConnectionLost, MetricStreamsError, Outage, SessionTakenOver, worded
from streams.mqtt.address import Address
from streams.mqtt.answers import (
    ID_IN_USE,
    ID_TRIES,
    UNSPECIFIED,
    NoAnswerError,
    NotGrantedError,
    answered,
    subscription_id,
)
from streams.mqtt.greeting import Greeting
from streams.mqtt.inbox import Inbox
from streams.mqtt.opening import LOOK_AGAIN_S, Opening, ReasonText, Strays
from streams.mqtt.paho_client import PahoClient
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import NO_PAST, MqttSession, Past, Publication, Token

T = TypeVar("T")

V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
PROTOCOLS = {V5: "5", V311: "3.1.1"}
TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1
KEEPALIVE_TIMEOUT = 0x8D  # paho's own, where no PINGRESP came
ANSWER_TIMEOUT_S = 10.0
LEAVE_TIMEOUT_S = 3.0


class AiomqttConnection:
    """One connection (`streams.mqtt.transport.Connection`).

    Args:
        client: connected.
        inbox: what it has received.
        session: our names.
        greeting: the broker's terms.
        standing: what is known of the broker.
        address: of the broker, for who reads of an outage.
        version: of the protocol.
    """

    def __init__(
        self,
        client: PahoClient,
        inbox: Inbox,
        session: MqttSession,
        *,
        greeting: Greeting,
        standing: SessionState,
        address: Address,
        version: aiomqtt.ProtocolVersion,
    ) -> None:
        self.protocol = PROTOCOLS[version]
        self.closed: asyncio.Future[MetricStreamsError] = asyncio.get_running_loop().create_future()
        self.session_present = client.session_present
        self._client = client
        self._inbox = inbox
        self._session = session
        self._address = address
        self._speaks_v5 = version is V5
        asks_for_id = self._speaks_v5 and greeting.subscription_ids
        self._subscription_id = subscription_id(session) if asks_for_id else None
        self._opening = Opening(
            self,
            session,
            standing,
            session_present=self.session_present,
            sends_retained=not self._speaks_v5,
        )
        self._strays = Strays(session, LOOK_AGAIN_S if self._speaks_v5 else math.inf)
        self._tidying: asyncio.Task[None] | None = None
        # It may be over already: the broker can close right behind its CONNACK.
        client.ended.add_done_callback(self._on_ended)

    async def open(self, past: Past = NO_PAST) -> None:
        """Subscribe, tidy up, and announce that we are online."""
        try:
            await self._opening.run(past)
        except (NoAnswerError, NotGrantedError, aiomqtt.MqttError) as error:
            raise Outage("mqtt", f"{self._address}: {worded(error)}") from error

    async def receive(self, timeout_s: float | None) -> list[Publication]:
        """Take what has arrived."""
        taken = await self._inbox.take(timeout_s)
        self._client.resume_reading()
        if taken and self.session_present:
            self._look_for_strays(taken[-1].topic)
        return taken

    def has_more(self) -> bool:
        """Tell whether more has arrived."""
        return len(self._inbox) > 0

    def wake(self) -> None:
        """Let a waiting `receive` return."""
        self._inbox.wake()

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Send a PUBACK for each."""
        if not self.closed.done():
            self._client.acknowledge(tokens)

    def drop(self, reason: MetricStreamsError) -> None:
        """Cut the connection."""
        # First: cutting ends the client too, with a reason that says less.
        self._close(reason)
        self._client.cut()

    async def close(self) -> None:
        """Say that we are offline and disconnect, if the broker still listens."""
        with contextlib.suppress(aiomqtt.MqttError, NoAnswerError, ConnectionLost, SessionTakenOver):
            await self._opening.say_offline()
            await self._client.__aexit__(None, None, None)
        self.drop(ConnectionLost("closed"))

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken."""
        return self._inbox.waiting_qos0()

    # --- What the opening asks (`streams.mqtt.opening.Asks`)

    async def subscribe(self) -> ReasonText:
        """Subscribe, at QoS 1; in MQTT 5 without the messages that are retained."""
        codes: Sequence[Any] = ()
        for _ in range(ID_TRIES):
            asked = self._client.subscribe(
                self._session.subscription, **self._subscribe_options(), timeout=math.inf
            )
            codes = await self._answered(asked, "SUBACK")
            if code_of(codes[0]) not in (ID_IN_USE, None if self._speaks_v5 else UNSPECIFIED):
                break  # otherwise another packet id may do; MQTT 3.1.1 has one code for all refusals
        return _answer(codes[0])

    async def unsubscribe(self, filters: Sequence[str]) -> list[int]:
        """Unsubscribe."""
        await self._answered(self._client.unsubscribe(list(filters), timeout=math.inf), "UNSUBACK")
        return [code.value for code in self._client.unsubscribed]

    async def publish_status(self, status: bytes, *, retain: bool, leaving: bool = False) -> ReasonText:
        """Publish on the status topic."""
        topic = self._session.status_topic
        asked = self._client.publish(topic, status, qos=1, retain=retain, timeout=math.inf)
        await self._answered(asked, "PUBACK", leaving=leaving)
        return ReasonText(0, "") if self._client.puback is None else _answer(self._client.puback)

    def _subscribe_options(self) -> dict[str, Any]:
        if not self._speaks_v5:
            return {"qos": 1}
        properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
        if self._subscription_id is not None:
            properties.SubscriptionIdentifier = self._subscription_id
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        return {"options": options, "properties": properties}

    async def _answered(self, asking: Coroutine[Any, Any, T], what: str, *, leaving: bool = False) -> T:
        """Wait for the broker's answer, but not for one that cannot come any more, as aiomqtt does."""
        answer = asyncio.ensure_future(asking)
        timeout_s, inbox = (LEAVE_TIMEOUT_S, None) if leaving else (ANSWER_TIMEOUT_S, self._inbox)
        try:
            return await answered(answer, self.closed, timeout_s, what, inbox)
        finally:
            answer.cancel()

    # --- What is left over of earlier settings

    def _look_for_strays(self, topic: str) -> None:
        ids = self._client.subscription_ids
        by_ours = self._subscription_id is None or self._subscription_id in ids
        if self._strays.found(topic, by_ours=by_ours):
            self._tidying = asyncio.create_task(self._end_stray(topic), name="ingress unsubscribes")

    async def _end_stray(self, topic: str) -> None:
        # The connection's end is told elsewhere.
        with contextlib.suppress(NoAnswerError, MetricStreamsError, aiomqtt.MqttError):
            await self._opening.end_stray(topic)

    # --- The end

    def _on_ended(self, ended: "asyncio.Future[object]") -> None:
        self._close(_reason(ended.result()))

    def _close(self, reason: MetricStreamsError) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)


def greeting_of(client: PahoClient) -> Greeting:
    """Return the terms on which a broker has let us in; MQTT 3.1.1 has no words for them."""
    said = client.connack
    return Greeting(
        session_present=client.session_present,
        max_qos=getattr(said, "MaximumQoS", 2),
        retains=bool(getattr(said, "RetainAvailable", 1)),
        wildcards=bool(getattr(said, "WildcardSubscriptionAvailable", 1)),
        shares=bool(getattr(said, "SharedSubscriptionAvailable", 1)),
        subscription_ids=bool(getattr(said, "SubscriptionIdentifierAvailable", 1)),
        session_expiry_s=getattr(said, "SessionExpiryInterval", None),
        max_packet_bytes=getattr(said, "MaximumPacketSize", None),
    )


def code_of(why: object) -> int | None:
    """Return the number of a reason code, or of the one that an exception carries."""
    code = getattr(why, "rc", why)
    return code.value if isinstance(code, ReasonCode) else None


def _answer(code: object) -> ReasonText:
    number = code_of(code)
    return ReasonText(UNSPECIFIED if number is None else number, str(code))


def _reason(why: object) -> MetricStreamsError:
    """Translate what paho (a reason code) or aiomqtt (an exception) says of a connection's end."""
    code = code_of(why)
    if code == TAKEN_OVER:
        return SessionTakenOver("the broker says that another client has connected with our client id")
    if code == KEEPALIVE_TIMEOUT:
        return ConnectionLost("the broker does not answer pings")
    if code == UNSPECIFIED:
        return ConnectionLost("the connection was closed from afar, without a reason", wordless=True)
    if code is not None:
        return ConnectionLost(f"the broker closed the connection: {why}")
    return ConnectionLost(f"the connection broke: {why!r}")
