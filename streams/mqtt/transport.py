"""What ingress asks of an MQTT client: the interface behind which transports can be exchanged.

Implemented on the codec mqtt5 (``mqtt5_transport.py``), on aiomqtt (``aiomqtt_transport.py``) and, for tests
without a server, in memory (``testing.py``); ``select_transport.py`` says which is taken. A `Transport` makes
connections; a `Connection` lives once and is never reopened, so that no acknowledgement can go out on another
connection than the one its message came on.
"""

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import msgspec

from streams.errors import MetricStreamsError
from streams.settings import Settings

ONLINE, OFFLINE = b"online", b"offline"
SHARED = "$share/"  # MQTT 5, 4.8.2


PUBACK, PUBREC, PUBCOMP = 0x4002_0000, 0x5002_0000, 0x7002_0000
"""What acknowledges a packet id that is added: type, remaining length and id (3.4, 3.5, 3.7 of MQTT 5)."""

Token: TypeAlias = int
"""What acknowledges a publication, on its own connection alone: the four bytes of that packet, as a number.

A number is a cheap object, and many become bytes at once (`packets_of`): 0.01 µs each instead of 0.1.
"""


def packets_of(tokens: Sequence[Token]) -> bytes:
    """Return the packets that acknowledge, in the order given."""
    return struct.pack(f"!{len(tokens)}I", *tokens)


def packet_id_of(token: Token) -> int:
    """Return the packet id of the publication that a token acknowledges."""
    return token & 0xFFFF


class Publication(msgspec.Struct, frozen=True, gc=False):
    """One message from the broker.

    A struct of msgspec is made in 0.05 µs, a named tuple in 0.2.
    """

    topic: str
    """Invalid UTF-8, which a broker should have refused, stands as lone surrogates (``surrogateescape``)."""
    payload: bytes
    arrived_ns: int
    """Unix time in nanoseconds; the same for all that one read has brought."""
    qos: int
    """The quality of service it was delivered with."""
    token: Token | None
    """None at QoS 0, which knows no acknowledgement."""
    retained: bool = False
    """Kept by the broker from an earlier time and sent because we subscribed: no news.

    Never so in a session that the broker has kept. What comes there was queued for us, and some brokers
    (aedes) leave the flag on what a device published with it.
    """
    redelivered: bool = False
    """The broker had sent it before (MQTT 5, 3.3.1.1: the DUP flag, which is the broker's own)."""


@dataclass(frozen=True)
class Past:
    """What is known of our session at the broker from before a connection."""

    subscriptions: frozenset[str] = frozenset()
    """Those under which the newest chunks were received: of an earlier configuration, one may still live."""
    unbroken: bool = False
    """Nobody else can have led, and so had the session, since this process's connection before."""


NO_PAST = Past()


class Connection(Protocol):
    """One connection. It delivers at once what the session holds, also before `open` is through."""

    closed: asyncio.Future[MetricStreamsError]
    """Done when the connection is over; says why: `ConnectionLost`, `SessionTakenOver` or what `drop` got."""

    @property
    def protocol(self) -> str:
        """The version of MQTT that is spoken: "5" or "3.1.1"."""
        ...

    @property
    def session_present(self) -> bool:
        """Whether the broker had kept our session."""
        ...

    async def open(self, past: Past = NO_PAST) -> None:
        """Subscribe, end the subscriptions that are no longer ours, and announce that we are online.

        Called once. Meanwhile what arrives must be taken and acknowledged: the broker's answers come behind
        its messages, of which it sends no more than it may.

        Raises:
            Outage: the broker does not grant what we need, or the connection is over.
            SessionTakenOver: another client with our id came at the same time.
        """
        ...

    async def receive(self, timeout_s: float | None) -> list[Publication]:
        """Take what has arrived, in order, up to a bound; wait for something if there is nothing.

        Returns:
            An empty list after `timeout_s` (None: never) without a publication, or when `wake` was called.
        """
        ...

    def has_more(self) -> bool:
        """Tell whether more has arrived than `receive` has taken."""
        ...

    def wake(self) -> None:
        """Let a waiting `receive` return with what there is."""
        ...

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Acknowledge publications of this connection, in the order given; once it is over, do nothing."""
        ...

    def drop(self, reason: MetricStreamsError) -> None:
        """Cut the connection: the broker speaks our will, and will deliver again what is not acknowledged."""
        ...

    async def close(self) -> None:
        """Say that we are offline and disconnect. What is not acknowledged stays in the session."""
        ...

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken; no broker will send them again."""
        ...


class Transport(Protocol):
    """Connects to the broker with our session."""

    async def connect(self) -> Connection:
        """Make a connection, which is to be opened then.

        Raises:
            Outage: the broker is not reached, refuses us, or offers less than we need.
            SessionTakenOver: another client with our id came at the same time.
        """
        ...


@dataclass(frozen=True)
class MqttSession:
    """Under which names we stand at the broker."""

    client_id: str
    subscription: str
    status_topic: str

    @property
    def is_shared(self) -> bool:
        """Whether the subscription is shared with others."""
        return self.subscription.startswith(SHARED)

    @property
    def topic_filter(self) -> str:
        """The filter alone, without the name of a share group."""
        return self.subscription.split("/", 2)[2] if self.is_shared else self.subscription

    @property
    def has_wildcards(self) -> bool:
        """Whether the filter stands for more than one topic."""
        return "+" in self.topic_filter or "#" in self.topic_filter

    @classmethod
    def of(cls, settings: Settings, host_name: str) -> Self:
        """Derive the names.

        Alone, one fixed client id: the broker itself then throws out whoever is left over. In a share group
        each worker has an id, and a status topic, of its own, which must stay the same over restarts.
        """
        if not settings.mqtt_share_group:
            return cls(settings.mqtt_client_id, settings.mqtt_topic_filter, settings.mqtt_status_topic)
        worker = settings.worker_id or host_name
        return cls(
            f"{settings.mqtt_client_id}-{worker}",
            f"{SHARED}{settings.mqtt_share_group}/{settings.mqtt_topic_filter}",
            f"{settings.mqtt_status_topic}/{worker}",
        )
