"""Both transports on a broker that refuses, lacks or leaves over something, as no real one does at will."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import mqtt5
import pytest

from streams.counters import Statistics
from streams.errors import ConnectionLost, Outage
from streams.mqtt import aiomqtt_connection, mqtt5_connection
from streams.mqtt.select_transport import transport_of
from streams.mqtt.transport import NO_PAST, Connection, Past, Publication, Transport
from streams.settings import Settings
from tests.parts.eventually import eventually
from tests.parts.scripted_broker import CONNECT, PUBACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, ScriptedBroker

RETAIN, WILL_RETAIN = 0x01, 0x20  # MQTT 5, 3.3.1.3 and 3.1.2.7
Make = Callable[..., Transport]
Open = Callable[..., Awaitable[Connection]]


@pytest.fixture(params=["mqtt5", "aiomqtt"])
def make(request: pytest.FixtureRequest) -> Make:
    """Make a transport to a broker, as a process does that has just started."""

    def make(broker: ScriptedBroker, statistics: Statistics | None = None, **different: object) -> Transport:
        named = {"mqtt_url": broker.url, "mqtt_transport": request.param, "mqtt_receive_maximum": 1}
        settings = Settings(**(named | different))  # type: ignore[arg-type]  # by name
        return transport_of(settings, statistics or Statistics(), "host")

    return make


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Connect and open, while what comes is taken and acknowledged; what is open at the end is dropped."""
    connections: list[Connection] = []
    pumps: list[asyncio.Task[None]] = []

    async def pump(connection: Connection, into: list[Publication]) -> None:
        while not connection.closed.done():
            taken = await connection.receive(0.02)
            into += taken
            connection.acknowledge([one.token for one in taken if one.token is not None])

    async def opened(
        transport: Transport, past: Past = NO_PAST, into: list[Publication] | None = None
    ) -> Connection:
        connection = await transport.connect()
        connections.append(connection)
        pumps.append(asyncio.create_task(pump(connection, [] if into is None else into)))
        await asyncio.wait_for(connection.open(past), 30)
        return connection

    yield opened
    for connection in connections:
        connection.drop(ConnectionLost("the test is over"))
    await asyncio.gather(*pumps)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def message(number: int, topic: str = "metrics/a/b/c", **more: object) -> bytes:
    return mqtt5.PublishPacket(
        topic,
        b"%d" % number,
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=number,
        **more,  # type: ignore[arg-type]  # by name
    ).write()


def plain_message(number: int, topic: bytes) -> bytes:
    """Return a PUBLISH of MQTT 3.1.1."""
    body = len(topic).to_bytes(2) + topic + number.to_bytes(2) + b"%d" % number
    return bytes([PUBLISH << 4 | 2, len(body)]) + body


def filters_in(unsubscribe: bytes, *, at: int) -> list[str]:
    found = []
    while at < len(unsubscribe):
        size = int.from_bytes(unsubscribe[at : at + 2])
        found.append(unsubscribe[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return found


async def test_an_answer_behind_more_messages_than_are_read_ahead_is_reached(
    make: Make, opened: Open
) -> None:
    messages = [message(number) for number in range(1, 500)]
    taken: list[Publication] = []
    async with ScriptedBroker(sends_first=messages) as broker:  # which keeps to no Receive Maximum
        await opened(make(broker), into=taken)
        assert len(taken) == len(messages)


async def test_the_time_for_an_answer_does_not_run_while_messages_come(
    make: Make, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (mqtt5_connection, aiomqtt_connection):
        monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.3)
    async with ScriptedBroker(silent_at=SUBSCRIBE) as broker:
        opening = asyncio.create_task(opened(make(broker)))
        await eventually(lambda: broker.of_type(SUBSCRIBE))
        for number in range(1, 11):
            broker.publish(b"metrics/a/b/c", b"1", packet_id=number)
            await eventually(lambda number=number: len(broker.of_type(PUBACK)) == number)
            due = asyncio.get_running_loop().time() + 0.1  # together more than the time for an answer
            await eventually(lambda due=due: asyncio.get_running_loop().time() >= due)
        assert not opening.done()
        with pytest.raises(Outage, match=r"no SUBACK in 0\.3 s"):
            await opening


async def test_a_subscription_that_the_log_shows_and_the_settings_do_not_is_ended(
    make: Make, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker(session_present=True) as broker:
        await opened(make(broker), Past(frozenset({"metrics/#", "old/#", "$share/g/metrics/#"})))
        (packet,) = broker.of_type(UNSUBSCRIBE)

    assert filters_in(packet, at=3) == ["$share/g/metrics/#", "old/#"]
    assert "unsubscribed its session at the MQTT broker from" in caplog.text


async def test_none_is_ended_in_a_new_session(make: Make, opened: Open) -> None:
    async with ScriptedBroker() as broker:
        await opened(make(broker), Past(frozenset({"old/#"})))
        assert broker.of_type(UNSUBSCRIBE) == []


@pytest.mark.parametrize(
    ("stray", "ended"),
    [
        (message(1, "old/a/b"), "old/#"),  # beside our filter
        (
            message(1, "metrics/a/b", subscription_ids=[7]),
            "metrics/+/+",
        ),  # within it, by another subscription
        (message(1, "metrics/a/b"), "metrics/a/#"),  # by one that was given no id
    ],
)
async def test_a_subscription_that_nobody_remembers_is_found_by_what_it_brings(
    make: Make, opened: Open, stray: bytes, ended: str
) -> None:
    async with ScriptedBroker(session_present=True, sends_more=[stray]) as broker:
        await opened(make(broker))
        await eventually(
            lambda: (
                ended in [name for packet in broker.of_type(UNSUBSCRIBE) for name in filters_in(packet, at=3)]
            )
        )
        names = [name for packet in broker.of_type(UNSUBSCRIBE) for name in filters_in(packet, at=3)]
    assert "metrics/#" not in names


@pytest.mark.parametrize("make", ["aiomqtt"], indirect=True)
async def test_so_it_is_in_mqtt_3(make: Make, opened: Open) -> None:
    stray = plain_message(1, b"old/a/b")
    async with ScriptedBroker((4,), session_present=True, sends_more=[stray]) as broker:
        await opened(make(broker))
        await eventually(
            lambda: (
                "old/#"
                in [name for packet in broker.of_type(UNSUBSCRIBE) for name in filters_in(packet, at=2)]
            )
        )


async def test_our_packet_ids_are_far_from_those_of_the_broker(make: Make, opened: Open) -> None:
    messages = [message(number) for number in range(1, 200)]
    async with ScriptedBroker(session_present=True, sends_more=messages) as broker:
        connection = await opened(make(broker))
        await eventually(lambda: len(broker.of_type(PUBACK)) == len(messages))
        await connection.close()
        (subscribe,) = broker.of_type(SUBSCRIBE)
        statuses = broker.of_type(PUBLISH)

    ids = [subscribe[:2], *(status[2 + int.from_bytes(status[:2]) :][:2] for status in statuses)]
    assert len(ids) == 3
    assert all(int.from_bytes(each) > 16_000 for each in ids)


async def test_a_packet_id_that_is_in_use_is_not_taken_again(make: Make, opened: Open) -> None:
    async with ScriptedBroker(suback=0x91) as broker:
        with pytest.raises(Outage, match="in use"):
            await opened(make(broker))
        ids = [packet[:2] for packet in broker.of_type(SUBSCRIBE)]
    assert len(set(ids)) == len(ids) > 1


UNREADABLE = [
    pytest.param(bytes([0x32, 6, 0, 1, 0x61, 0, 2, 0x7F]), id="properties beyond the packet"),
    pytest.param(bytes([0x32, 7, 0, 1, 0x61, 0, 2, 1, 0x7E]), id="an unknown property"),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the codec panics on some
@pytest.mark.parametrize("packet", UNREADABLE)
async def test_a_message_that_cannot_be_read_is_asked_for_again_and_then_carried_without_a_topic(
    make: Make, opened: Open, packet: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    statistics, taken = Statistics(), list[Publication]()
    async with ScriptedBroker(sends_more=[message(1), packet, message(3)], session_present=True) as broker:
        transport = make(broker, statistics)
        with pytest.raises(ConnectionLost):
            await opened(transport)
        await opened(transport, into=taken)
        await eventually(lambda: len(taken) == 3)
        await eventually(lambda: broker.of_type(PUBACK)[-3:] == [b"\0\1", b"\0\2", b"\0\3"])

    assert [one.topic for one in taken] == ["metrics/a/b/c", "", "metrics/a/b/c"]
    assert taken[1].payload == packet[2:]
    assert statistics.notes["unreadable"] == 1
    assert "has sent a message that cannot be read" in caplog.text


@pytest.mark.parametrize("make", ["mqtt5"], indirect=True)
async def test_an_alias_of_a_connection_before_is_such_a_message(make: Make, opened: Open) -> None:
    taken: list[Publication] = []
    packet = message(2, "", topic_alias=5)
    async with ScriptedBroker(sends_more=[packet, message(3)], session_present=True) as broker:
        transport = make(broker)
        with pytest.raises(ConnectionLost, match="stands for nothing"):
            await opened(transport)
        await opened(transport, into=taken)
        await eventually(lambda: len(taken) == 2)
        assert b"\x22" not in broker.of_type(CONNECT)[0][10:20]  # no Topic Alias Maximum is asked for
    assert [(one.topic, one.payload) for one in taken] == [("", b"2"), ("metrics/a/b/c", b"3")]


@pytest.mark.parametrize("code", [0x87, 0x97])
async def test_a_status_that_is_refused_is_told_once_and_messages_are_carried(
    make: Make, opened: Open, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker(puback=code) as broker:
        transport = make(broker)
        for _ in range(2):
            connection = await opened(transport)
            connection.drop(ConnectionLost("to see it again"))
    assert caplog.text.count("refuses our status on") == 1


def is_retained_status(first: int, _body: bytes) -> bool:
    return first >> 4 == PUBLISH and bool(first & RETAIN)


def is_status(first: int, _body: bytes) -> bool:
    return first >> 4 == PUBLISH


def has_retained_will(first: int, body: bytes) -> bool:
    return first >> 4 == CONNECT and bool(body[7] & WILL_RETAIN)


@pytest.mark.parametrize("closes_on", [is_retained_status, is_status, has_retained_will])
async def test_a_broker_that_closes_on_what_we_say_of_ourselves_is_worked_with_in_the_end(
    make: Make,
    opened: Open,
    closes_on: Callable[[int, bytes], bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ScriptedBroker(closes_on=closes_on) as broker:
        transport = make(broker)
        ends: list[Outage] = []
        for _ in range(6):
            try:
                await opened(transport)
            except Outage as end:
                ends.append(end)
            else:
                break
        assert len(ends) < 6
        assert not any(isinstance(end, ConnectionLost) and end.wordless for end in ends)
        ends.clear()
        await opened(transport)  # from now on without trying anew
    assert "does not take a retained message" in caplog.text


@pytest.mark.parametrize(
    ("connack", "told"),
    [
        (b"\0\0\2\x28\0", "MQTT_TOPIC_FILTER=metrics/#"),
        (b"\0\0\5\x27\0\0\0\x0a", "packets of 10 bytes at most"),
        (b"\0\0\2\x24\0", "QoS 0 alone"),
    ],
)
async def test_a_broker_that_offers_less_than_we_need_is_refused_with_the_mend(
    make: Make, opened: Open, connack: bytes, told: str
) -> None:
    async with ScriptedBroker(connack=connack) as broker:
        with pytest.raises(Outage, match=told):
            await opened(make(broker))


async def test_one_without_shared_subscriptions_will_do_unless_there_is_a_share_group(
    make: Make, opened: Open
) -> None:
    async with ScriptedBroker(connack=b"\0\0\2\x2a\0") as broker:
        await opened(make(broker))
        with pytest.raises(Outage, match="unset MQTT_SHARE_GROUP"):
            await opened(make(broker, mqtt_share_group="g", worker_id="w"))


async def test_one_that_retains_nothing_is_told_once(
    make: Make, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker(connack=b"\0\0\2\x25\0", closes_on=is_retained_status) as broker:
        transport = make(broker)
        for _ in range(2):
            await opened(transport)
    assert caplog.text.count("does not take a retained message") == 1


@pytest.mark.parametrize(("seconds", "told"), [(9, "keeps our session for 9 s"), (0, "keeps no session")])
async def test_a_session_that_is_kept_for_less_is_told_once(
    make: Make, opened: Open, seconds: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker(connack=b"\0\0\5\x11" + seconds.to_bytes(4)) as broker:
        transport = make(broker)
        for _ in range(2):
            await opened(transport)
    assert caplog.text.count(told) == 1
