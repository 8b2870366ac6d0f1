"""The protocol on scripted bytes: what it reads, what it answers, and when it reads no further."""

import asyncio
from collections.abc import Callable
from typing import Any

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.counters import Statistics
from streams.errors import ConnectionLost, SessionTakenOver, SpeaksNoMqtt5
from streams.mqtt.inbox import LIMIT_BYTES, Inbox
from streams.mqtt.mqtt5_protocol import MALFORMED, PINGREQ, Mqtt5Protocol, NoAnswerError
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import MqttSession, Publication
from tests.parts.eventually import eventually

TOPIC = "metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu"
TAKEN_OVER = b"\xe0\x01\x8e"


class Wire(asyncio.Transport):
    """The transport of a connection that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_reading = True
        self.is_open = True
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        self.on_write()

    def is_closing(self) -> bool:
        return not self.is_open

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def close(self) -> None:
        self.is_open = False

    abort = close


def standing_of(statistics: Statistics) -> SessionState:
    return SessionState(MqttSession("us", "metrics/#", "status"), statistics)


class Line:
    """A protocol on such a transport."""

    def __init__(
        self, limit: int = 1_000, standing: SessionState | None = None, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self.statistics = Statistics()
        self.standing = standing or standing_of(self.statistics)
        self.inbox = Inbox(limit, self.statistics, limit_bytes=limit_bytes, gather_s=0.0)
        self.protocol = Mqtt5Protocol(self.inbox, self.standing)
        self.wire = Wire()
        self.protocol.connection_made(self.wire)

    def hear(self, *packets: bytes) -> None:
        self.protocol.data_received(b"".join(packets))

    async def taken(self) -> list[Publication]:
        return await self.inbox.take(0.0)

    def reason(self) -> Exception:
        return self.protocol.ended.result()


def publish(payload: bytes, qos: int = 1, packet_id: int = 7, topic: str = TOPIC, **more: Any) -> bytes:
    levels = (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE)
    return mqtt5.PublishPacket(
        topic, payload, qos=levels[qos], packet_id=packet_id if qos else None, **more
    ).write()


def raw_publish(topic: bytes, payload: bytes, properties: bytes = b"", first: int = 0x32) -> bytes:
    body = len(topic).to_bytes(2) + topic + b"\0\7" + bytes([len(properties)]) + properties + payload
    return bytes([first, len(body)]) + body


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_is_taken_as_it_came(qos: int) -> None:
    line = Line()
    line.hear(publish(b'{"value": 1}', qos, retain=True))
    (message,) = await line.taken()

    assert (message.topic, message.payload, message.qos, message.retained) == (
        TOPIC,
        b'{"value": 1}',
        qos,
        True,
    )
    assert (message.token is None) == (qos == 0)
    assert line.wire.written == []


@given(st.lists(st.binary(max_size=400), max_size=8), st.data())
def test_packets_may_be_cut_anywhere(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(publish(payload, packet_id=1 + number) for number, payload in enumerate(payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))

    async def read() -> list[bytes]:
        line = Line()
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            line.protocol.data_received(stream[start:end])
        return [message.payload for message in await line.taken()]

    assert asyncio.run(read()) == payloads


async def test_acknowledgements_go_out_in_one_write_and_in_order() -> None:
    line = Line()
    line.hear(*(publish(b"", packet_id=number) for number in (3, 1, 2)))
    line.protocol.acknowledge([message.token for message in await line.taken() if message.token])

    assert line.wire.written == [b"\x40\2\0\3\x40\2\0\1\x40\2\0\2"]


async def test_at_qos_2_the_pubrec_is_the_acknowledgement_and_a_pubrel_is_answered() -> None:
    line = Line()
    line.hear(publish(b"1", qos=2))
    line.protocol.acknowledge([message.token for message in await line.taken() if message.token])
    assert line.wire.written == [b"\x50\2\0\7"]

    line.hear(b"\x62\2\0\7")
    assert line.wire.written[1:] == [b"\x70\2\0\7"]
    assert line.standing.released == set()


async def test_a_message_at_qos_2_that_comes_again_is_delivered_once() -> None:
    line = Line()
    line.hear(publish(b"1", qos=2), publish(b"1", qos=2, duplicate=True))
    (message,) = await line.taken()
    assert line.wire.written == []  # the first PUBREC is still to come
    assert message.token is not None
    line.protocol.acknowledge([message.token])

    # On the next connection the broker, which has not heard it, sends the message once more.
    again = Line(standing=line.standing)
    again.hear(publish(b"1", qos=2, duplicate=True))
    assert again.wire.written == [b"\x50\2\0\7"]
    assert await again.taken() == []
    again.hear(b"\x62\2\0\7", publish(b"2", qos=2))
    assert [message.payload for message in await again.taken()] == [b"2"]


async def test_one_at_qos_2_that_was_not_acknowledged_is_delivered_again_on_the_next_connection() -> None:
    line = Line()
    line.hear(publish(b"1", qos=2))
    again = Line(standing=line.standing)
    again.hear(publish(b"1", qos=2, duplicate=True))

    assert [message.payload for message in await again.taken()] == [b"1"]


async def test_a_pubrel_for_nothing_is_told_so() -> None:
    line = Line()
    line.hear(b"\x62\2\0\7")

    assert line.wire.written == [b"\x70\3\0\7\x92"]


async def test_a_topic_alias_stands_for_its_topic() -> None:
    line = Line()
    line.hear(publish(b"1", topic_alias=5), publish(b"2", topic="", topic_alias=5))
    line.hear(publish(b"3", topic="other", topic_alias=5), publish(b"4", topic="", topic_alias=5))

    assert [message.topic for message in await line.taken()] == [TOPIC, TOPIC, "other", "other"]


def malformed_streams() -> dict[str, bytes]:
    return {
        "an alias that stands for nothing": publish(b"1", topic="", topic_alias=5),
        "no packet": b"\0\0",
        "what a client sends": mqtt5.ConnectPacket("x").write(),
        "a length of five bytes": b"\x30\xff\xff\xff\xff\xff",
        "a QoS of 3": b"\x36\6\0\1a\0\1\0",
        "a topic beyond the packet": b"\x32\2\xff\xff",
        "a topic beyond the packet, more behind": b"\x32\2\xff\xff" + publish(b"1") * 99,
        "properties beyond the packet": b"\x32\6\0\1a\0\1\x7f",
        "an unknown property": raw_publish(b"a", b"", b"\x7e\0"),
        "a text beyond the properties": raw_publish(b"a", b"", b"\x26\0\1a\0\x99b"),
        "a SUBACK that is none": b"\x90\1\0",
        "a CONNACK with an unknown reason": b"\x20\3\0\x11\0",
    }


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the codec panics on some
@pytest.mark.parametrize("stream", malformed_streams().values(), ids=malformed_streams().keys())
async def test_what_is_no_mqtt_5_ends_the_connection_and_says_so(stream: bytes) -> None:
    line = Line()
    line.hear(stream)

    assert isinstance(line.reason(), ConnectionLost)
    assert "not MQTT 5" in str(line.reason())
    assert len(str(line.reason()).splitlines()) == 1
    assert line.wire.written == [MALFORMED]
    assert not line.wire.is_open


# The codec panics on some of these, and Rust says so where nobody can catch it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("packet", "topic"),
    [
        (raw_publish(b"metrics/\xff/c", b"1"), "metrics/\udcff/c"),
        (raw_publish(b"", b"1"), ""),
        (raw_publish(b"a", b"1", b"\x26\0\1\xff\0\1b"), "a"),
        (raw_publish(b"a", b"1", b"\x26\0\1\xff\0\1b\x01\1\x0b\x81\1\x03\0\1x\x02\0\0\0\1"), "a"),
    ],
)
async def test_a_message_that_the_codec_refuses_is_carried_all_the_same(packet: bytes, topic: str) -> None:
    line = Line()
    line.hear(packet, publish(b"2"))

    assert [(message.topic, message.payload) for message in await line.taken()] == [
        (topic, b"1"),
        (TOPIC, b"2"),
    ]


async def test_an_alias_in_a_message_that_the_codec_refuses_counts() -> None:
    line = Line()
    line.hear(raw_publish(b"", b"1", b"\x23\0\5"))  # with a topic before it, this would be good
    assert "stands for nothing" in str(line.reason())


@pytest.mark.parametrize("connack", [b"\x20\2\0\1", b"\x20\2\0\0", b"\x20\3\0\1\0"])
async def test_a_connack_of_an_older_version_is_told_apart(connack: bytes) -> None:
    line = Line()
    line.hear(connack)

    assert isinstance(line.reason(), SpeaksNoMqtt5)


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (b"\xe0\1\x8b", "Server shutting down"),
        (b"\xe0\1\x77", "reason 0x77"),
        (b"\xe0\0", "Normal disconnection"),
        (
            mqtt5.DisconnectPacket(
                reason_code=mqtt5.DisconnectReasonCode.QUOTA_EXCEEDED, reason_str="too much"
            ).write(),
            r"Quota exceeded \(too much\)",
        ),
    ],
)
async def test_the_reason_of_a_disconnect_is_quoted(packet: bytes, told: str) -> None:
    line = Line()
    line.hear(packet)
    with pytest.raises(ConnectionLost, match=told) as lost:
        raise line.reason()
    assert not lost.value.wordless


async def test_a_takeover_is_told_as_one_and_nothing_behind_it_is_taken() -> None:
    line = Line()
    line.hear(TAKEN_OVER)
    line.hear(publish(b"1"))

    assert isinstance(line.reason(), SessionTakenOver)
    assert await line.taken() == []


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_a_close_without_a_reason_is_wordless(error: Exception | None) -> None:
    line = Line()
    line.protocol.connection_lost(error)
    reason = line.reason()

    assert isinstance(reason, ConnectionLost)
    assert reason.wordless


async def test_what_the_system_says_of_the_end_is_quoted() -> None:
    line = Line()
    line.protocol.connection_lost(OSError(110, "Connection timed out"))

    assert "timed out" in str(line.reason())


async def test_a_full_inbox_is_read_into_no_further_until_something_is_taken() -> None:
    line = Line(limit=3)
    line.hear(publish(b"1"), publish(b"2"))
    assert line.wire.is_reading
    line.hear(publish(b"3"))
    assert not line.wire.is_reading

    assert len(await line.taken()) == 3
    line.protocol.look_at_the_inbox()
    assert line.wire.is_reading


async def test_an_inbox_that_is_full_of_bytes_is_read_into_no_further_until_something_is_taken() -> None:
    line = Line(limit_bytes=10_000)
    line.hear(publish(b"1" * 9_000))
    assert line.wire.is_reading
    line.hear(publish(b"2" * 900, qos=0))
    assert not line.wire.is_reading

    assert len(await line.taken()) == 2
    line.protocol.look_at_the_inbox()
    assert line.wire.is_reading


async def test_a_message_that_is_larger_than_the_inbox_passes_in_parts() -> None:
    line = Line(limit_bytes=10_000)
    packet = publish(b"1" * 50_000)
    for at in range(0, len(packet), 5_000):
        assert line.wire.is_reading
        line.hear(packet[at : at + 5_000])
    assert not line.wire.is_reading

    (message,) = await line.taken()
    assert message.payload == b"1" * 50_000
    assert line.inbox.size_bytes == 0


async def test_a_broker_that_takes_nothing_is_read_no_further() -> None:
    line = Line()
    line.protocol.pause_writing()
    assert not line.wire.is_reading
    line.protocol.resume_writing()
    assert line.wire.is_reading


async def test_whoever_leaves_reads_the_answers_behind_a_full_inbox() -> None:
    line = Line(limit=1)
    line.hear(publish(b"1"))
    assert not line.wire.is_reading
    line.protocol.leave()
    assert line.wire.is_reading
    line.hear(publish(b"2"))

    assert [message.payload for message in await line.taken()] == [b"1"]


async def test_an_answer_reaches_whoever_asked() -> None:
    line = Line()
    asking = asyncio.create_task(line.protocol.ask(b"?", mqtt5.PubAckPacket, 5.0))
    await eventually(lambda: line.wire.written == [b"?"])
    line.hear(b"\x40\2\0\1")

    assert (await asking).packet_id == 1


async def test_silence_and_an_end_are_told_to_whoever_asked() -> None:
    line = Line()
    with pytest.raises(NoAnswerError):
        await line.protocol.ask(b"?", mqtt5.PubAckPacket, 0.01)
    line.hear(TAKEN_OVER)
    with pytest.raises(SessionTakenOver):
        await line.protocol.ask(b"?", mqtt5.PubAckPacket, 5.0)


async def test_a_broker_that_answers_pings_is_pinged_again() -> None:
    line = Line()
    line.wire.on_write = lambda: line.hear(b"\xd0\0")
    line.protocol.keep_alive(0.02)
    await eventually(lambda: len(line.wire.written) > 3)
    assert set(line.wire.written) == {PINGREQ}
    assert not line.protocol.ended.done()
    line.protocol.cut(ConnectionLost("the test is over"))


async def test_a_broker_that_does_not_is_lost() -> None:
    line = Line()
    line.protocol.keep_alive(0.02)
    reason = await asyncio.wait_for(line.protocol.ended, 30)

    assert "does not answer pings" in str(reason)
    assert isinstance(reason, ConnectionLost)
    assert not reason.wordless


async def test_one_that_takes_nothing_is_lost_too() -> None:
    line = Line()
    line.protocol.keep_alive(0.02)
    line.protocol.pause_writing()

    assert "pings" in str(await asyncio.wait_for(line.protocol.ended, 30))


async def test_while_we_do_not_read_no_answer_is_missed() -> None:
    line = Line(limit=1)
    line.hear(publish(b"1"))
    line.protocol.keep_alive(0.02)
    await eventually(lambda: len(line.wire.written) > 3)
    assert not line.protocol.ended.done()

    await line.taken()
    line.protocol.look_at_the_inbox()
    line.protocol.cut(ConnectionLost("the test is over"))


@pytest.mark.parametrize("act", [Mqtt5Protocol.cut, Mqtt5Protocol.close])
async def test_once_over_nothing_is_written_any_more(act: Callable[..., None]) -> None:
    line = Line()
    act(line.protocol, ConnectionLost("the test says so"))
    line.protocol.acknowledge([0x4002_0001])
    line.protocol.pause_writing()

    assert line.wire.written == []


async def test_a_connection_that_is_made_too_late_is_closed() -> None:
    protocol, wire = Mqtt5Protocol(Inbox(1, Statistics()), standing_of(Statistics())), Wire()
    protocol.cut(ConnectionLost("given up"))
    protocol.connection_made(wire)

    assert not wire.is_open
