"""What an attacker of `attacks` does on each of its connections, as bytes. Pure.

SECURITY.md has a table of the same attacks, and `tests/acceptance/test_attacks.py` shows that they reach
nothing. Here they are repeated as fast as an attacker can.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mqtt5

from tests.parts.accounts import Account
from tests.parts.forbidden import filters, foreign_topics, odd_topics
from tests.parts.raw_mqtt import connect_packet, publish_packet, subscribe_packet

BLOCK = 256
"""Packets that are sent together on a connection that goes on."""
TURNS = 1_000
LARGE_BYTES, SENT_BYTES = 10_000_000, 1_000_000
WILL_BYTES = 60_000
HELD = 2_000
"""Connections that say nothing, held at the same time."""


class Cast(NamedTuple):
    """Who takes part."""

    honest: Account
    hostile: Account
    """Of another tenant."""
    bridge_client_id: str


class Visit(NamedTuple):
    """What is done on one connection."""

    connect: bytes
    packets: Sequence[bytes] = ()
    """Sent together, once the connection is accepted; each is answered, or the connection ends. Without any
    the attacker goes as soon as it is accepted."""
    turns: int = 1
    """How often they are sent, where the connection does not end."""
    encrypted: bool = True


def _foreign_topics(cast: Cast) -> list[Visit]:
    """Publish for others, and as the bridge; Mosquitto 2.0.11 ends the connection behind the PUBACK."""
    return [
        _one(cast, publish_packet(topic.encode(), 1)) for topic in foreign_topics(cast.honest, cast.hostile)
    ]


def _subscriptions(cast: Cast) -> list[Visit]:
    """Subscribe to everything, and into the bridge's share group."""
    asked = filters(cast.hostile)
    packets = [subscribe_packet(asked[at % len(asked)], at + 1) for at in range(BLOCK)]
    return [Visit(connect_packet(cast.hostile), packets, TURNS)]


def _client_id(cast: Cast) -> list[Visit]:
    """Connect in the bridge's name with a clean start, which would end its session."""
    return [Visit(connect_packet(cast.hostile, cast.bridge_client_id))]


def _wrong_password(cast: Cast) -> list[Visit]:
    return [Visit(connect_packet(_locked_out(cast)))]


def _no_account(cast: Cast) -> list[Visit]:  # noqa: ARG001 - nobody's
    return [Visit(connect_packet(None, "nobody"))]


def _large_wills(cast: Cast) -> list[Visit]:
    """Log in wrongly, with a will that a broker might keep; Mosquitto 2.0.11 does where a user is named."""
    will = mqtt5.Will(cast.honest.topic, payload=b"x" * WILL_BYTES)
    return [Visit(connect_packet(_locked_out(cast), "", will))]


def _no_tls(cast: Cast) -> list[Visit]:
    return [Visit(connect_packet(cast.hostile), encrypted=False)]


def _retained(cast: Cast) -> list[Visit]:
    """Publish what would stay for ever."""
    return [_one(cast, publish_packet(cast.hostile.topic.encode(), 1, retain=True))]


def _qos_2(cast: Cast) -> list[Visit]:
    """Begin QoS 2, and never end it."""
    return [_one(cast, publish_packet(cast.hostile.topic.encode(), 1, qos=2))]


def _large_packets(cast: Cast) -> list[Visit]:
    """Send what the broker refuses by its length: no more of it than what is on its way meanwhile."""
    packet = publish_packet(cast.hostile.topic.encode(), 1, b"x" * LARGE_BYTES)
    return [_one(cast, packet[:SENT_BYTES])]


def _odd_topics(cast: Cast) -> list[Visit]:
    return [_one(cast, publish_packet(topic, 1)) for topic in odd_topics(cast.hostile)]


def _locked_out(cast: Cast) -> Account:
    return Account("", "", cast.hostile.username, "wrong")


def _one(cast: Cast, packet: bytes) -> Visit:
    return Visit(connect_packet(cast.hostile), [packet])


VISITS: dict[str, Callable[[Cast], list[Visit]]] = {
    "foreign_topics": _foreign_topics,
    "subscriptions": _subscriptions,
    "client_id": _client_id,
    "wrong_password": _wrong_password,
    "no_account": _no_account,
    "no_tls": _no_tls,
    "large_wills": _large_wills,
    "retained": _retained,
    "qos_2": _qos_2,
    "large_packets": _large_packets,
    "odd_topics": _odd_topics,
}
"""What is done over and over, by its name: one visit after the other, and then the first again."""
SILENT = "silent_connections"
FLOODS = {"flood_small": "valid", "flood_payloads": "noise", "flood_packets": "oversize"}
"""What a tenant with accounts may do, by its name, as kinds of `benchmarks.hostility`.

Messages as devices send them, payloads as large as they may be, and packets as large as the broker allows.
"""
NOTHING = ("nothing_first", "nothing_last")
KINDS = (*VISITS, SILENT, *FLOODS)
