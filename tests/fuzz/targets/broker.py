"""What a broker sends on a connection: a byte that says how it is cut into reads, then any bytes."""

import asyncio

import mqtt5

from streams.counters import Statistics
from streams.errors import ConnectionLost, MetricStreamsError, SessionTakenOver, SpeaksNoMqtt5
from streams.mqtt.inbox import Inbox
from streams.mqtt.mqtt5_protocol import Mqtt5Protocol
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import MqttSession, Publication, packet_id_of
from streams.wire.raw import decode, encode_message, join
from tests.fuzz.publications import TENANT

AT = "2026-11-23T14:00:00.123456Z"
SESSION = MqttSession("metric-streams", "metrics/#", "bridge/status")
DETAIL_LENGTH = 300
_TOPIC = f"metrics/{TENANT}/edge-7/cpu.usage.percent"
_LEVELS = [mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE]
_PUBLISHES = [
    *(
        mqtt5.PublishPacket(_TOPIC, b'{"value": 1}', qos=level, packet_id=qos or None).write()
        for qos, level in enumerate(_LEVELS)
    ),
    mqtt5.PublishPacket(_TOPIC, b"1", topic_alias=3).write()
    + mqtt5.PublishPacket("", b"2", topic_alias=3).write(),
    mqtt5.PublishPacket(
        _TOPIC,
        b"\xff",
        content_type="x",
        response_topic="y",
        correlation_data=b"z",
        subscription_ids=[1, 300],
        message_expiry_interval=9,
        user_properties=[("a", "b")],
    ).write(),
    b"\x32\6\0\0\0\1\0x",
]
_OTHERS = [
    mqtt5.ConnAckPacket(session_present=True, server_keep_alive=9, reason_str="why").write(),
    mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write(),
    mqtt5.PubAckPacket(1).write(),
    mqtt5.PubRelPacket(2).write(),
    mqtt5.PingRespPacket().write(),
    mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write(),
    mqtt5.AuthPacket().write(),
    b"\x20\2\0\1",
    b"\xe0\1\x77",
    b"\x30\xff\xff\xff\xff\xff",
    b"\xe0\1\x8e" + _PUBLISHES[0],
]
SEEDS = [
    *(b"\0" + packet + _PUBLISHES[1] for packet in [*_PUBLISHES, *_OTHERS]),
    b"\1" + b"".join(_PUBLISHES),
    b"\7" + b"".join(_PUBLISHES) * 9,
]
WORDS = [b"\x23\0\1", b"\x26\0\1a\0\1b", b"\x0b\x80\1", b"\x62\2\0\2", b"\x36", b"\xff\xff\xff\x7f"]


class _Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_open = True

    def write(self, data: bytes) -> None:  # type: ignore[override]  # whatever bytes a transport takes, we give these
        self.written.append(data)

    def is_closing(self) -> bool:
        return not self.is_open

    def abort(self) -> None:
        self.is_open = False


def fuzz(data: bytes) -> None:
    """Any bytes are messages, or end the connection for a reason; how they are cut makes no difference."""
    asyncio.run(_fuzz(data[1:], data[0] if data else 0))


async def _fuzz(stream: bytes, size: int) -> None:
    whole, reason = await _heard([stream])
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)] if size else [stream]
    cut, reason_of_pieces = await _heard(pieces)
    assert [one.topic for one in cut] == [one.topic for one in whole] or reason is not None
    assert str(reason) == str(reason_of_pieces)
    for publication in whole:
        _is_carried(publication)


async def _heard(reads: list[bytes]) -> tuple[list[Publication], MetricStreamsError | None]:
    """Return the messages and why the connection ended, if it did."""
    inbox, wire = Inbox(1_000_000, Statistics(), gather_s=0.0), _Wire()
    protocol = Mqtt5Protocol(inbox, SessionState(SESSION, Statistics()))
    protocol.connection_made(wire)
    for read in reads:
        protocol.data_received(read)
    reason = protocol.ended.result() if protocol.ended.done() else None
    assert wire.is_open == (reason is None)
    if reason is not None:
        assert isinstance(reason, ConnectionLost | SessionTakenOver | SpeaksNoMqtt5)
        assert len(str(reason)) <= DETAIL_LENGTH
        assert len(str(reason).splitlines()) == 1
    if len(inbox) == 0:
        return [], reason
    taken = await inbox.take(0.0)
    protocol.acknowledge([one.token for one in taken if one.token is not None])
    return taken, reason


def _is_carried(publication: Publication) -> None:
    assert (publication.token is None) == (publication.qos == 0)
    if publication.token is not None:
        assert 0 <= packet_id_of(publication.token) < 1 << 16
    encoded = encode_message(publication.topic, publication.payload, AT, publication.qos)
    (message,) = decode(join([encoded]))
    assert publication.payload.startswith(message.payload_bytes())
