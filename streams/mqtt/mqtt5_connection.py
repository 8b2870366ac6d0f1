"""One connection in MQTT 5, on our own protocol: what it delivers, and what it asks of the broker.

Made by ``streams/mqtt/mqtt5_transport.py``; bytes and packets are the business of
``streams/mqtt/mqtt5_protocol.py``.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import mqtt5

from streams.errors import ConnectionLost, MetricStreamsError, Outage, SessionTakenOver, worded
from streams.mqtt.address import Address
from streams.mqtt.answers import (
    ID_IN_USE,
    ID_TRIES,
    NoAnswerError,
    NotGrantedError,
    own_id,
    subscription_id,
)
from streams.mqtt.greeting import Greeting
from streams.mqtt.inbox import Inbox
from streams.mqtt.mqtt5_protocol import Mqtt5Protocol
from streams.mqtt.opening import LOOK_AGAIN_S, Opening, ReasonText, Strays
from streams.mqtt.packets import worded as code_worded
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import NO_PAST, MqttSession, Past, Publication, Token

ANSWER_TIMEOUT_S = 10.0
LEAVE_TIMEOUT_S = 3.0
GOODBYE = mqtt5.DisconnectPacket().write()


class Mqtt5Connection:
    """One connection (`streams.mqtt.transport.Connection`).

    Args:
        protocol: the open line.
        inbox: what it has received.
        session: our names.
        greeting: the broker's terms.
        standing: what is known of the broker.
        address: of the broker, for who reads of an outage.
    """

    protocol = "5"

    def __init__(
        self,
        protocol: Mqtt5Protocol,
        inbox: Inbox,
        session: MqttSession,
        *,
        greeting: Greeting,
        standing: SessionState,
        address: Address,
    ) -> None:
        self.closed: asyncio.Future[MetricStreamsError] = protocol.ended
        self.session_present = greeting.session_present
        self._protocol = protocol
        self._inbox = inbox
        self._session = session
        self._address = address
        self._id = own_id(0)
        self._subscription_id = subscription_id(session) if greeting.subscription_ids else None
        self._opening = Opening(
            self, session, standing, session_present=greeting.session_present, sends_retained=False
        )
        self._strays = Strays(session, LOOK_AGAIN_S)
        self._tidying: asyncio.Task[None] | None = None

    async def open(self, past: Past = NO_PAST) -> None:
        """Subscribe, tidy up, and announce that we are online."""
        try:
            await self._opening.run(past)
        except (NoAnswerError, NotGrantedError) as error:
            raise Outage("mqtt", f"{self._address}: {worded(error)}") from error

    async def receive(self, timeout_s: float | None) -> list[Publication]:
        """Take what has arrived."""
        taken = await self._inbox.take(timeout_s)
        # There is room now, where reading was paused.
        self._protocol.look_at_the_inbox()
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
        """Send a PUBACK for each, all in one write."""
        if not self.closed.done():
            self._protocol.acknowledge(tokens)

    def drop(self, reason: MetricStreamsError) -> None:
        """Cut the connection."""
        self._protocol.cut(reason)

    async def close(self) -> None:
        """Say that we are offline and disconnect, if the broker still listens."""
        # What comes from here on nobody would carry any more: the broker keeps it for the next connection.
        self._protocol.leave()
        with contextlib.suppress(NoAnswerError, ConnectionLost, SessionTakenOver):
            self._id = own_id(self._protocol.last_acknowledged)
            await self._opening.say_offline()
            self._protocol.send(GOODBYE)
            self._protocol.close(ConnectionLost("closed"))
            return
        self.drop(ConnectionLost("closed"))

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken."""
        return self._inbox.waiting_qos0()

    # --- What the opening asks (`streams.mqtt.opening.Asks`)

    async def subscribe(self) -> ReasonText:
        """Subscribe, at QoS 1, without the messages that are retained."""
        topic_filter = mqtt5.TopicFilter(
            self._session.subscription,
            max_qos=mqtt5.QoS.AT_LEAST_ONCE,
            # So the flag tells what comes only because we subscribed, and not what a device has set (MQTT 5,
            # 3.3.1.3).
            retain_as_published=False,
            # Each connection subscribes again, and would bring all retained messages once more.
            retain_handling=mqtt5.RetainHandling.SEND_NEVER,
        )

        def packet(packet_id: int) -> bytes:
            return mqtt5.SubscribePacket(
                packet_id, [topic_filter], subscription_id=self._subscription_id
            ).write()

        answer = await self._ask(packet, mqtt5.SubAckPacket)
        return _answer(answer.reason_codes[0])

    async def unsubscribe(self, filters: Sequence[str]) -> list[int]:
        """Unsubscribe."""

        def packet(packet_id: int) -> bytes:
            return mqtt5.UnsubscribePacket(packet_id, list(filters)).write()

        answer = await self._ask(packet, mqtt5.UnsubAckPacket)
        return [int(code) for code in answer.reason_codes]

    async def publish_status(self, status: bytes, *, retain: bool, leaving: bool = False) -> ReasonText:
        """Publish on the status topic."""
        packet = mqtt5.PublishPacket(
            self._session.status_topic,
            status,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=retain,
            packet_id=self._id,
        ).write()
        timeout_s = LEAVE_TIMEOUT_S if leaving else ANSWER_TIMEOUT_S
        answer = await self._protocol.ask(packet, mqtt5.PubAckPacket, timeout_s, behind_messages=not leaving)
        return _answer(answer.reason_code)

    async def _ask(self, packet: Callable[[int], bytes], answer_type: Any) -> Any:
        """Ask under a packet id that the broker does not use itself (`streams.mqtt.answers.own_id`)."""
        for _ in range(ID_TRIES):
            answer = await self._protocol.ask(
                packet(self._id), answer_type, ANSWER_TIMEOUT_S, behind_messages=True
            )
            # mochi-mqtt keeps the ids of both directions in one table (`streams.mqtt.answers.own_id`).
            if ID_IN_USE not in answer.reason_codes:
                break
            self._id = own_id(self._protocol.last_acknowledged)
        return answer

    # --- What is left over of earlier settings

    def _look_for_strays(self, topic: str) -> None:
        ids = self._protocol.subscription_ids
        by_ours = self._subscription_id is None or self._subscription_id in ids
        if self._strays.found(topic, by_ours=by_ours):
            self._tidying = asyncio.create_task(self._end_stray(topic), name="ingress unsubscribes")

    async def _end_stray(self, topic: str) -> None:
        with contextlib.suppress(NoAnswerError, MetricStreamsError):  # the connection's end is told elsewhere
            await self._opening.end_stray(topic)


def _answer(code: int) -> ReasonText:
    return ReasonText(int(code), code_worded(code))  # the codec's are no enum of Python, and have no order
