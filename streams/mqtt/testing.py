"""An MQTT broker in memory for one client, ourselves: for tests without a server.

It keeps the session as a broker does: what is not acknowledged is delivered again, in order, to the next
connection; Receive Maximum bounds what is under way.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streams.counters import Statistics
from streams.errors import ConnectionLost, MetricStreamsError, Outage, SessionTakenOver
from streams.mqtt.inbox import LIMIT_PER_RECEIVE_MAXIMUM, Inbox
from streams.mqtt.transport import NO_PAST, OFFLINE, ONLINE, PUBACK, Past, Publication, Token, packet_id_of


@dataclass(eq=False)
class Delivery:
    """A message in the session, until it is acknowledged."""

    topic: str
    payload: bytes
    retained: bool = False
    packet_id: int = 0
    """That of the last time it was sent; 0 before the first."""
    times_sent: int = 0


@dataclass(eq=False)
class FakeTransport:
    """The broker, and the transport to it.

    Attributes:
        refusal: an outage to raise from `connect`; None lets clients in.
        opening_refusal: an outage to raise from `open`; None lets it through.
        stays_shut: to let `open` wait until the connection ends.
        protocol: the MQTT version that is spoken.
        clock_ns: Unix time in nanoseconds, by which arrivals are stamped.
        acknowledged: what was acknowledged, in order, as (topic, payload).
        statuses: what stood on the status topic, in order.
        connections: all there were; the last one may be open.
    """

    receive_maximum: int = 2_000
    protocol: str = "5"
    statistics: Statistics = field(default_factory=Statistics)
    clock_ns: Callable[[], int] = time.time_ns
    refusal: Outage | None = None
    opening_refusal: Outage | None = None
    stays_shut: bool = False
    acknowledged: list[tuple[str, bytes]] = field(default_factory=list)
    statuses: list[bytes] = field(default_factory=list)
    connections: list["FakeConnection"] = field(default_factory=list)
    _keeps_session: bool = False
    _queued: deque[Delivery] = field(default_factory=deque)
    _under_way: dict[int, Delivery] = field(default_factory=dict)

    async def connect(self) -> "FakeConnection":
        """Let the client in, and deliver what waits for it."""
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        if self.connection is not None:
            self.take_over()
        connection = FakeConnection(self)
        self.connections.append(connection)
        self._queued.extendleft(reversed(self._under_way.values()))
        self._under_way.clear()
        self._deliver()
        return connection

    @property
    def connection(self) -> "FakeConnection | None":
        """The open connection, if there is one."""
        last = self.connections[-1] if self.connections else None
        return None if last is None or last.closed.done() else last

    @property
    def waiting(self) -> int:
        """How many messages are in the session, acknowledged by nobody yet."""
        return len(self._queued) + len(self._under_way)

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retained: bool = False) -> None:
        """Do as a device does; at QoS 0 only an open connection hears it."""
        if qos:
            self._queued.append(Delivery(topic, payload, retained))
            self._deliver()
        elif self.connection is not None:
            self.connection.inbox.put_nowait(Publication(topic, payload, self.clock_ns(), 0, None, retained))

    def lose(self, *, wordless: bool = False) -> None:
        """Let the open connection break."""
        if self.connection is not None:
            self.connection.drop(ConnectionLost("the fake broker was told to", wordless=wordless))

    def take_over(self) -> None:
        """Let another client connect with the same id."""
        if self.connection is not None:
            self.connection.drop(SessionTakenOver("the fake broker was told to"))

    def lose_session(self) -> None:
        """Forget the client, and what waits for it, as a broker does that persists nothing."""
        self._keeps_session = False
        self._queued.clear()
        self._under_way.clear()

    def begin_session(self) -> bool:
        """Keep a session from now on; return whether there was one."""
        kept, self._keeps_session = self._keeps_session, True
        return kept

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Forget messages of the open connection.

        Raises:
            KeyError: a packet id is not under way, which a real broker answers with a disconnect.
        """
        for token in tokens:
            delivery = self._under_way.pop(packet_id_of(token))
            self.acknowledged.append((delivery.topic, delivery.payload))
        self._deliver()

    def _deliver(self) -> None:
        connection = self.connection
        while connection is not None and self._queued and len(self._under_way) < self.receive_maximum:
            delivery = self._queued.popleft()
            delivery.packet_id, delivery.times_sent = connection.next_packet_id(), delivery.times_sent + 1
            self._under_way[delivery.packet_id] = delivery
            connection.inbox.put_nowait(
                Publication(
                    delivery.topic,
                    delivery.payload,
                    self.clock_ns(),
                    1,
                    PUBACK | delivery.packet_id,
                    delivery.retained and not connection.session_present,
                    redelivered=delivery.times_sent > 1,
                )
            )


class FakeConnection:
    """One connection to the fake broker (`streams.mqtt.transport.Connection`)."""

    def __init__(self, broker: FakeTransport) -> None:
        self.protocol = broker.protocol
        self.session_present = broker.begin_session()
        self.closed: asyncio.Future[MetricStreamsError] = asyncio.get_running_loop().create_future()
        self.inbox = Inbox(
            LIMIT_PER_RECEIVE_MAXIMUM * broker.receive_maximum, broker.statistics, gather_s=0.0
        )
        self.past = NO_PAST
        """What was known when it was opened."""
        self._broker = broker
        self._last_packet_id = 0

    async def open(self, past: Past = NO_PAST) -> None:
        """Say that we are online; a refusal that the broker has for that is raised, or the end."""
        self.past = past
        await asyncio.sleep(0)
        if self.closed.done():
            raise self.closed.result()
        if self._broker.stays_shut:
            raise await self.closed
        if self._broker.opening_refusal is not None:
            raise self._broker.opening_refusal
        self._broker.statuses.append(ONLINE)

    async def receive(self, timeout_s: float | None) -> list[Publication]:
        """Take what has arrived."""
        return await self.inbox.take(timeout_s)

    def has_more(self) -> bool:
        """Tell whether more has arrived."""
        return len(self.inbox) > 0

    def wake(self) -> None:
        """Let a waiting `receive` return."""
        self.inbox.wake()

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Let the broker forget messages."""
        if not self.closed.done():
            self._broker.acknowledge(tokens)

    def drop(self, reason: MetricStreamsError) -> None:
        """Cut the connection: the broker speaks our will."""
        self._end(reason)

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)
        self._end(ConnectionLost("closed"))

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken."""
        return self.inbox.waiting_qos0()

    def next_packet_id(self) -> int:
        """Number a delivery; numbers start again with each connection, as they may at a real broker."""
        self._last_packet_id = self._last_packet_id % 65_535 + 1
        return self._last_packet_id

    def _end(self, reason: MetricStreamsError) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)
            self._broker.statuses.append(OFFLINE)
