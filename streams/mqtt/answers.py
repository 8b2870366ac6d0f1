"""What both transports do alike while they ask the broker something: wait, number, and word a refusal."""

import asyncio
import random
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

from streams.errors import ConnectionLost, MetricStreamsError, worded
from streams.mqtt.address import Address
from streams.mqtt.inbox import Inbox
from streams.mqtt.transport import MqttSession
from streams.tls import MQTT, tls_fault

T = TypeVar("T")

PACKET_IDS = 65_535
MOST_SUBSCRIPTION_ID = 268_435_455  # MQTT 5, 3.8.2.1.2
APART = 16_384
ID_IN_USE, UNSPECIFIED, NO_RETAIN = 0x91, 0x80, 0x9A  # MQTT 5, 3.9.3 and 3.14.2.1
ID_TRIES = 5
HINTS: Mapping[int, str] = {
    0: "at QoS 0 messages may be lost; let the broker grant QoS 1",
    UNSPECIFIED: "the broker gives no reason; often its access control list has one",
    0x87: "check the broker's access control list",
    0x8F: "check MQTT_TOPIC_FILTER",
    ID_IN_USE: "the next attempt takes another packet id",
    0x97: "raise the broker's quota",
    0x9E: "unset MQTT_SHARE_GROUP, or allow shared subscriptions there",
    0xA2: "allow wildcard subscriptions there",
}


class NoAnswerError(Exception):
    """The broker did not answer in time."""


class NotGrantedError(Exception):
    """The broker does not grant what we need."""


CLOSED = "the broker closed the connection without an answer"
TLS_HINTS = {
    CLOSED: "over TLS many refuse a certificate so, look at MQTT_CERT_FILE",
    "reset by peer": "does this port speak TLS?",
}
"""What an end in these words may mean where the connection is encrypted."""
PLAIN_HINTS = {
    CLOSED: "does this port want TLS (mqtts://)?",
    "timed out": "does this port want TLS (mqtts://)?",
}
"""And where it is not."""


def unreached(error: BaseException, address: Address) -> str:
    """Say what a connection failed with: a TLS handshake in plain words and with its mend."""
    fault = tls_fault(error, MQTT)
    return tls_hinted(worded(error), address) if fault is None else str(fault)


def tls_hinted(text: str, address: Address) -> str:
    """Add to words on the end of a connection what they may mean over TLS, or without it."""
    hints = [hint for words, hint in (TLS_HINTS if address.tls else PLAIN_HINTS).items() if words in text]
    return "; ".join([text, *hints])


def own_id(last_theirs: int) -> int:
    """Return a packet id for what we ask.

    The ids of the two directions are apart (MQTT 5, 2.2.1), but mochi-mqtt 2.7.9, for one, keeps them in one
    table: it refuses a SUBSCRIBE with an id that it uses itself, and forgets the message that a PUBLISH
    shares its id with. So ours is far from those that the broker has in use, which follow each other.

    Args:
        last_theirs: the id of the broker's that was acknowledged last, 0 before the first.
    """
    further = random.randrange(PACKET_IDS - 2 * APART)  # noqa: S311 - no secret
    return (last_theirs + APART + further) % PACKET_IDS + 1


def subscription_id(session: MqttSession) -> int:
    """Return an id by which messages of our subscription are known: another one for another filter."""
    return zlib.crc32(session.subscription.encode()) % MOST_SUBSCRIPTION_ID + 1


async def answered(
    answer: "asyncio.Future[T]",
    closed: "asyncio.Future[MetricStreamsError]",
    timeout_s: float,
    what: str,
    inbox: Inbox | None = None,
) -> T:
    """Wait for the broker's answer.

    It comes behind all messages that the broker has sent before. So while messages are taken out of the
    inbox, or it is full and nothing is read, the time for the answer does not run.

    Args:
        answer: the answer to be.
        closed: done when the connection is over.
        timeout_s: how long nothing may come.
        what: the name of the answer.
        inbox: where those messages go; None if they do not count.

    Raises:
        MetricStreamsError: the connection is over; this is why.
        NoAnswerError: nothing came in time.
    """
    either: set[asyncio.Future[Any]] = {answer, closed}
    while True:
        taken = inbox.taken if inbox is not None else 0
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        # The end of the connection may fail the answer as well, in words that say less.
        if answer.done() and not (answer.exception() and closed.done()):
            return answer.result()
        if closed.done():
            raise closed.result()
        if inbox is None or (inbox.taken == taken and not inbox.is_full):
            raise NoAnswerError(f"no {what} in {timeout_s:g} s")


def not_granted(subscription: str, code: int, words: str) -> NotGrantedError:
    """Return the error for a SUBACK that does not grant QoS 1; it names a mend where the code tells one."""
    hint = HINTS.get(code)
    told = f"subscribing to {subscription} at QoS 1 was answered with {words}"
    return NotGrantedError(f"{told}; {hint}" if hint else told)


def closed_instead(asked: str, error: ConnectionLost) -> ConnectionLost:
    """Return what is to be said where the broker has closed instead of answering; that is no takeover yet."""
    if not error.wordless:
        return error
    return ConnectionLost(
        f"the broker closed the connection, without a reason, instead of answering {asked}; it may not let "
        "our user do that (check its access control list), or another client uses our client id"
    )
