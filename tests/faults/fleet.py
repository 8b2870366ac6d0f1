"""The devices of a storm: they publish whatever happens to the broker, and remember what it acknowledged."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial

from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.faults.messages import Kind, kind_of, message
from tests.faults.pace import pass_time

TICK_S = 0.02
IN_FLIGHT = 500
RECONNECT_S = 0.3
SENT, ACKED = 1, 2


class Device:
    """Publishes its messages in order; what was not acknowledged goes out again on the next connection.

    Args:
        number: names it.
        address: the broker's, through its link.
        tenants: those that exist.
        rate: messages a second.

    Attributes:
        state: for each message 0, `SENT` or `ACKED`.
        rows_due: acknowledged messages that must each become a row.
        is_paused: whether it publishes nothing new.
    """

    def __init__(self, number: int, address: Address, tenants: Sequence[str], rate: float) -> None:
        self.number = number
        self.state = bytearray()
        self.rows_due = 0
        self.is_paused = False
        self._address = address
        self._tenants = tenants
        self._rate = rate
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._owed = 0.0

    @property
    def acked(self) -> int:
        """How many messages the broker has taken."""
        return self.state.count(ACKED)

    @property
    def unanswered(self) -> int:
        """How many were sent, and not acknowledged so far."""
        return self.state.count(SENT)

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            with contextlib.suppress(Outage):
                async with MqttPublisher(self._address, timeout_s=5.0) as publisher:
                    await self._publish(publisher)
            self._waiting.clear()
            await pass_time(RECONNECT_S)

    async def _publish(self, publisher: MqttPublisher) -> None:
        self._again(publisher)
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await pass_time(TICK_S)
            now = loop.time()
            self._owed = min(self._owed + (now - before) * self._rate, self._rate)
            before = now
            if self.is_paused:
                self._owed = 0.0
            while self._owed >= 1 and len(self._waiting) < IN_FLIGHT:
                self._owed -= 1
                self.state.append(SENT)
                self._send(publisher, len(self.state) - 1)
            self._look_for_the_end()

    def _again(self, publisher: MqttPublisher) -> None:
        at = self.state.find(SENT)
        while at >= 0:
            self._send(publisher, at)
            at = self.state.find(SENT, at + 1)

    def _send(self, publisher: MqttPublisher, number: int) -> None:
        topic, payload = message(self.number, number, self._tenants)
        answer = self._waiting[number] = publisher.publish(topic, payload, 1)
        answer.add_done_callback(partial(self._answered, number))

    def _answered(self, number: int, answer: "asyncio.Future[bool]") -> None:
        if answer.cancelled() or answer.exception() is not None:
            return
        if answer.result() and self.state[number] != ACKED:
            self.state[number] = ACKED
            self.rows_due += kind_of(number) in (Kind.WITH_ID, Kind.TIMED)
            self._waiting.pop(number, None)

    def _look_for_the_end(self) -> None:
        """Raise what ended the connection, if something did."""
        for answer in self._waiting.values():
            if answer.done():
                answer.result()
            return
