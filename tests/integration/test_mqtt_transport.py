"""Both transports on a real Mosquitto: sessions, redelivery, takeover, will, and the ways to reach it."""

import asyncio
import gc
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from streams.counters import Statistics
from streams.errors import ConnectionLost, Outage, SessionTakenOver
from streams.mqtt import aiomqtt_connection, aiomqtt_transport, mqtt5_connection, mqtt5_transport
from streams.mqtt.aiomqtt_connection import AiomqttConnection
from streams.mqtt.inbox import TAKE_BYTES, Inbox
from streams.mqtt.mqtt5_connection import ANSWER_TIMEOUT_S, Mqtt5Connection
from streams.mqtt.paho_client import PahoClient
from streams.mqtt.select_transport import transport_of
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import Connection, MqttSession, Publication, Token
from streams.settings import Settings
from tests.conftest import real
from tests.parts.authority import Authority, Certificate
from tests.parts.devices import publish, watching
from tests.parts.eventually import eventually
from tests.parts.mosquitto import Mosquitto
from tests.parts.scripted_broker import DISCONNECT, PINGREQ, PUBACK, PUBLISH, SUBSCRIBE, ScriptedBroker
from tests.parts.secure_mosquitto import SecureMosquitto

Own = Callable[[Callable[[], Mosquitto]], Mosquitto]
Connect = Callable[..., Awaitable[Connection]]


@pytest.fixture(params=["auto", "aiomqtt"])
def transport(request: pytest.FixtureRequest) -> str:
    """MQTT_TRANSPORT; auto is our own, wherever that goes."""
    return str(request.param)


@pytest.fixture
async def connect(mosquitto: Mosquitto, unique: str, transport: str) -> AsyncIterator[Connect]:
    """Connect with names of this test's own; what is open at its end is dropped."""
    opened: list[Connection] = []

    async def connect(url: str = mosquitto.url, **different: object) -> Connection:
        named = {
            "mqtt_transport": transport,
            "mqtt_url": url,
            "mqtt_client_id": unique,
            "mqtt_topic_filter": f"{unique}/#",
            "mqtt_status_topic": f"status/{unique}",
        }
        settings = Settings(**(named | different))  # type: ignore[arg-type]  # by name
        opened.append(await transport_of(settings, Statistics(), "host").connect())
        await opened[-1].open()
        return opened[-1]

    yield connect
    for connection in opened:
        connection.drop(ConnectionLost("the test is over"))
    # The sockets are closed by the event loop's next turn, and theirs tasks by the one after it.
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def receive(connection: Connection, count: int) -> list[Publication]:
    """Take messages until there are so many."""
    taken: list[Publication] = []

    async def enough() -> bool:
        taken.extend(await connection.receive(0.05))
        return len(taken) >= count

    await eventually(enough)
    return taken


def shorten(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let nobody wait for long for a broker that says nothing."""
    for module in (mqtt5_transport, mqtt5_connection, aiomqtt_transport, aiomqtt_connection):
        for name in ("ANSWER_TIMEOUT_S", "PROBE_TIMEOUT_S"):
            monkeypatch.setattr(module, name, seconds, raising=False)


def standing_of(client_id: str) -> SessionState:
    return SessionState(MqttSession(client_id, f"{client_id}/#", f"status/{client_id}"), Statistics())


def files(authority: Authority, certificate: Certificate) -> dict[str, str]:
    """Return the settings of a client that trusts an authority, and shows a certificate."""
    shown = {"mqtt_cert_file": str(certificate.path), "mqtt_key_file": str(certificate.key)}
    return {"mqtt_ca_file": str(authority.ca), **shown}


def tokens(publications: list[Publication]) -> list[Token]:
    return [publication.token for publication in publications if publication.token is not None]


async def test_it_speaks_mqtt_5_and_delivers_what_was_published(
    connect: Connect, mosquitto: Mosquitto, unique: str, transport: str
) -> None:
    connection = await connect()
    await publish(mosquitto.url, f"{unique}/a/b/c", [b'{"value": 1}'])
    (message,) = await receive(connection, 1)

    assert connection.protocol == "5"
    assert isinstance(connection, Mqtt5Connection if transport == "auto" else AiomqttConnection)
    assert (message.topic, message.payload, message.qos) == (f"{unique}/a/b/c", b'{"value": 1}', 1)
    assert not message.retained


async def test_what_is_not_acknowledged_comes_again_in_order_and_what_is_does_not(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    payloads = [b"%d" % number for number in range(10)]
    first = await connect()
    await publish(mosquitto.url, f"{unique}/a/b/c", payloads)
    received = await receive(first, 10)
    first.acknowledge(tokens(received[:3]))
    await first.close()

    second = await connect()
    assert second.session_present
    assert [message.payload for message in await receive(second, 7)] == payloads[3:]


async def test_after_a_cut_too_what_is_not_acknowledged_comes_again(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    first = await connect()
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"1"])
    await receive(first, 1)
    first.drop(ConnectionLost("to see it again"))

    assert [message.payload for message in await receive(await connect(), 1)] == [b"1"]


async def test_a_closed_connection_acknowledges_nothing(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    first = await connect()
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"1"])
    received = await receive(first, 1)
    first.drop(ConnectionLost("before the acknowledgement"))
    first.acknowledge(tokens(received))

    assert [message.payload for message in await receive(await connect(), 1)] == [b"1"]


async def test_the_broker_keeps_what_comes_while_we_are_away(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    await (await connect()).close()
    payloads = [b"%d" % number for number in range(1_500)]  # more than Mosquitto queues by default
    await publish(mosquitto.url, f"{unique}/a/b/c", payloads)

    assert [message.payload for message in await receive(await connect(), 1_500)] == payloads


async def test_no_more_than_receive_maximum_is_under_way(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    connection = await connect(mqtt_receive_maximum=7)
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"%d" % number for number in range(20)])
    # QoS 0 is outside the window, so its arrival shows that the broker has sent all that it may.
    await publish(mosquitto.url, f"{unique}/end", [b""], qos=0)
    received = [message for message in await receive(connection, 8) if message.token]
    taken = [message.payload for message in received]
    assert taken == [b"%d" % number for number in range(7)]

    # From here on Mosquitto 2.0.11 no longer counts, so only the order is looked at.
    for _ in range(13):
        connection.acknowledge(tokens(received))
        received = await connection.receive(0.05)
        taken += [message.payload for message in received]
    assert taken == [b"%d" % number for number in range(20)]


async def test_retained_messages_are_not_sent_for_our_subscription(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"old"], retain=True)
    connection = await connect()
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"new"])

    assert [(message.payload, message.retained) for message in await receive(connection, 1)] == [
        (b"new", False)
    ]


async def test_another_client_with_our_id_ends_the_connection(connect: Connect) -> None:
    first = await connect()
    second = await connect()

    reason = await asyncio.wait_for(first.closed, 30)
    # Mosquitto 2.0.11 just closes; later ones say what happened.
    assert isinstance(reason, SessionTakenOver) or (isinstance(reason, ConnectionLost) and reason.wordless)
    assert not second.closed.done()


async def test_status_is_online_while_connected_and_offline_after_leaving(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    connection = await connect()
    async with watching(mosquitto.url, f"status/{unique}") as seen:
        await eventually(lambda: seen == [(b"online", True)])
        await connection.close()
        await eventually(lambda: seen == [(b"online", True), (b"offline", False)])
    async with watching(mosquitto.url, f"status/{unique}") as seen:
        await eventually(lambda: seen == [(b"offline", True)])


async def test_the_will_says_offline_when_the_connection_is_cut(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    connection = await connect()
    async with watching(mosquitto.url, f"status/{unique}") as seen:
        await eventually(lambda: seen == [(b"online", True)])
        connection.drop(ConnectionLost("a crash"))
        await eventually(lambda: seen[1:] == [(b"offline", False)])


async def test_a_killed_broker_ends_the_connection_and_brings_the_session_back(
    connect: Connect, own: Own, unique: str
) -> None:
    broker = own(Mosquitto)
    first = await connect(broker.url)
    await first.close()
    await publish(broker.url, f"{unique}/a/b/c", [b"1", b"2"])
    await asyncio.to_thread(broker.restart)  # an orderly stop writes sessions and queues to disk
    second = await connect(broker.url)
    assert second.session_present
    assert [message.payload for message in await receive(second, 2)] == [b"1", b"2"]

    await asyncio.to_thread(broker.kill)
    reason = await asyncio.wait_for(second.closed, 30)
    assert isinstance(reason, ConnectionLost)
    await asyncio.to_thread(broker.start)
    assert [message.payload for message in await receive(await connect(broker.url), 2)] == [b"1", b"2"]


async def test_a_broker_that_hangs_is_noticed_by_its_missing_answers(connect: Connect, own: Own) -> None:
    broker = own(Mosquitto)
    connection = await connect(broker.url, mqtt_keepalive_s=5)
    broker.pause()

    reason = await asyncio.wait_for(connection.closed, 20)
    assert isinstance(reason, ConnectionLost)
    assert not reason.wordless
    broker.resume()


async def test_a_broker_that_is_not_there_is_an_outage(connect: Connect) -> None:
    with pytest.raises(Outage, match=r"mqtt://127\.0\.0\.1:1: .*refused"):
        await connect("mqtt://127.0.0.1:1")


async def test_giving_up_while_connecting_leaves_no_connection_behind(
    connect: Connect, own: Own, unique: str
) -> None:
    broker = own(Mosquitto)
    broker.pause()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connect(broker.url), 0.5)
    broker.resume()

    connection = await connect(broker.url)
    await publish(broker.url, f"{unique}/a/b/c", [b"1"])
    assert len(await receive(connection, 1)) == 1
    assert not connection.closed.done()


@pytest.fixture
def guarded(own: Own, tmp_path: Path) -> Mosquitto:
    """A broker that asks for a password."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(
        ["mosquitto_passwd", "-b", passwords, "us@er", "se/cr:et"], check=True, capture_output=True
    )
    return own(lambda: Mosquitto({"allow_anonymous": "false", "password_file": str(passwords)}))


async def test_user_and_password_are_those_of_the_url(
    connect: Connect, guarded: Mosquitto, unique: str
) -> None:
    url = f"mqtt://us%40er:se%2Fcr%3Aet@{guarded.host}:{guarded.port}"
    connection = await connect(url)
    await publish(url, f"{unique}/a/b/c", [b"1"])

    assert len(await receive(connection, 1)) == 1


async def test_a_wrong_password_is_told(connect: Connect, guarded: Mosquitto) -> None:
    with pytest.raises(Outage, match="Not authorized") as refused:
        await connect(f"mqtt://us%40er:wrong@{guarded.host}:{guarded.port}")
    assert "wrong" not in str(refused.value)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return real(lambda: Authority(tmp_path_factory.mktemp("authority")))


@pytest.fixture
def tls(own: Own, authority: Authority) -> SecureMosquitto:
    """A broker whose certificate our own authority has signed."""
    broker = own(lambda: SecureMosquitto(authority))
    assert isinstance(broker, SecureMosquitto)
    return broker


@pytest.fixture
def mutual(own: Own, authority: Authority) -> SecureMosquitto:
    """One that lets in who shows a certificate, under the name that stands in it."""
    broker = own(lambda: SecureMosquitto(authority, asks=True))
    assert isinstance(broker, SecureMosquitto)
    return broker


async def test_it_speaks_over_tls(
    connect: Connect, tls: SecureMosquitto, authority: Authority, unique: str
) -> None:
    ca = str(authority.ca)
    payloads = [b"%d" % number * 1_000 for number in range(300)]
    connection = await connect(tls.tls_url, mqtt_ca_file=ca)
    await publish(tls.url, f"{unique}/a/b/c", payloads)
    received = await receive(connection, 300)
    assert [message.payload for message in received] == payloads

    connection.acknowledge(tokens(received))
    await connection.close()
    assert await (await connect(tls.tls_url, mqtt_ca_file=ca)).receive(0.2) == []


async def test_it_shows_a_certificate_to_a_broker_that_asks_for_one(
    connect: Connect, mutual: SecureMosquitto, authority: Authority, unique: str
) -> None:
    connection = await connect(mutual.tls_url, **files(authority, authority.client("bridge")))
    await publish(mutual.url, f"{unique}/a/b/c", [b"1"])
    assert [message.payload for message in await receive(connection, 1)] == [b"1"]


# paho leaves the socket of a handshake that failed to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "wrong", ["no CA", "another host", "no certificate", "expired", "another's", "no TLS", "TLS"]
)
async def test_what_keeps_it_out_is_told(
    connect: Connect, mutual: SecureMosquitto, authority: Authority, wrong: str, tmp_path: Path
) -> None:
    ours = authority.client("bridge")
    good = files(authority, ours)
    stranger = Authority(tmp_path).client("bridge")
    url, settings, told = {
        "no CA": (mutual.tls_url, {}, r"no CA that is trusted here .*: set MQTT_CA_FILE"),
        "another host": (mutual.tls_url.replace("127.0.0.1", "localhost"), good, "is for another host"),
        "no certificate": (mutual.tls_url, {"mqtt_ca_file": str(authority.ca)}, "MQTT_CERT_FILE"),
        "expired": (mutual.tls_url, files(authority, authority.client("old", days=-1)), "MQTT_CERT_FILE"),
        "another's": (mutual.tls_url, files(authority, stranger), "MQTT_CERT_FILE"),
        "no TLS": (mutual.url.replace("mqtt://", "mqtts://"), good, "does this port speak TLS"),
        "TLS": (mutual.tls_url.replace("mqtts://", "mqtt://"), {}, r"does this port want TLS \(mqtts://\)\?"),
    }[wrong]
    with pytest.raises(Outage, match=told) as refusal:
        await connect(url, **settings)
    assert "_ssl.c" not in refusal.value.detail
    del refusal
    gc.collect()  # so that it complains here


async def test_it_speaks_over_websockets(connect: Connect, mosquitto: Mosquitto, unique: str) -> None:
    connection = await connect(mosquitto.websocket_url)
    payloads = [b"%d" % number * 100 for number in range(300)]
    await publish(mosquitto.url, f"{unique}/a/b/c", payloads)
    received = await receive(connection, 300)
    assert [message.payload for message in received] == payloads

    connection.acknowledge(tokens(received))
    await connection.close()
    assert await (await connect(mosquitto.websocket_url)).receive(0.2) == []


async def test_in_a_share_group_each_message_goes_to_one_worker(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    workers = [await connect(mqtt_share_group=unique, worker_id=name) for name in ("w1", "w2")]
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"%d" % number for number in range(20)])
    taken: list[list[bytes]] = [[], []]

    async def all_taken() -> bool:
        for worker, into in zip(workers, taken, strict=True):
            into.extend(message.payload for message in await worker.receive(0.05))
        return len(taken[0]) + len(taken[1]) >= 20

    await eventually(all_taken)
    assert sorted(taken[0] + taken[1], key=int) == [b"%d" % number for number in range(20)]
    assert all(taken)
    assert not any(worker.closed.done() for worker in workers)


async def test_a_device_that_publishes_at_qos_2_is_carried_at_qos_1(
    connect: Connect, mosquitto: Mosquitto, unique: str
) -> None:
    connection = await connect()
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"1"], qos=2)

    assert (await receive(connection, 1))[0].qos == 1


async def test_a_broker_that_sends_too_much_is_read_no_further_until_something_is_taken(
    mosquitto: Mosquitto, unique: str
) -> None:
    inbox = Inbox(10, Statistics())
    client = PahoClient(
        inbox, standing_of(unique), hostname=mosquitto.host, port=mosquitto.port, identifier=unique
    )
    await client.open()  # MQTT 3.1.1, which knows no Receive Maximum
    await client.subscribe(f"{unique}/#", qos=1)
    payloads = [b"%d" % number for number in range(200)]
    await publish(mosquitto.url, f"{unique}/a/b/c", payloads)
    await eventually(lambda: len(inbox) == 10)
    await publish(mosquitto.url, f"{unique}/a/b/c", [b"200"])  # had it been reading, this would have come too
    assert len(inbox) == 10

    taken: list[bytes] = []
    while len(taken) < 201:
        some = await inbox.take(5.0)
        assert 0 < len(some) <= 10
        taken += [message.payload for message in some]
        client.resume_reading()
    assert taken == [*payloads, b"200"]
    await client.__aexit__(None, None, None)


async def test_paho_is_read_no_further_where_the_bytes_are_too_many(
    mosquitto: Mosquitto, unique: str
) -> None:
    inbox = Inbox(1_000, Statistics(), limit_bytes=100_000)
    client = PahoClient(
        inbox, standing_of(unique), hostname=mosquitto.host, port=mosquitto.port, identifier=unique
    )
    await client.open()  # MQTT 3.1.1, which knows no Receive Maximum
    await client.subscribe(f"{unique}/#", qos=1)
    payloads = [b"%03d" % number * 4_000 for number in range(50)] + [b"x" * 200_000]
    await publish(mosquitto.url, f"{unique}/a/b/c", payloads)
    await eventually(lambda: inbox.is_full)

    taken: list[bytes] = []
    while len(taken) < len(payloads):
        assert inbox.size_bytes <= 120_000 or len(inbox) == 1
        taken += [message.payload for message in await inbox.take(5.0)]
        client.resume_reading()
    assert taken == payloads
    await client.__aexit__(None, None, None)


@pytest.mark.parametrize("transport", ["mqtt5"], indirect=True)
async def test_our_own_holds_no_more_than_its_bytes(connect: Connect) -> None:
    payload = b"x" * 64 * 1024
    async with ScriptedBroker() as broker:  # which knows no Receive Maximum
        connection = await connect(broker.url)
        for number in range(600):
            broker.publish(b"metrics/a/b/c", payload, packet_id=1 + number)
        await eventually(lambda: broker.unsent_bytes > 0)

        taken = 0
        while taken < 600:
            some = await connection.receive(5.0)
            assert sum(len(message.payload) for message in some) <= TAKE_BYTES
            taken += len(some)
        assert not connection.has_more()


@pytest.mark.parametrize("transport", ["mqtt5"], indirect=True)
async def test_our_own_reads_no_further_either(connect: Connect) -> None:
    payloads = [b"%d" % number * 4_000 for number in range(2_000)]
    async with ScriptedBroker() as broker:  # which knows no Receive Maximum
        connection = await connect(broker.url, mqtt_receive_maximum=1)
        for number, payload in enumerate(payloads):
            broker.publish(b"metrics/a/b/c", payload, packet_id=1 + number)
        await eventually(lambda: broker.unsent_bytes > 0)

        taken: list[bytes] = []
        while len(taken) < len(payloads):
            assert broker.unsent_bytes > 0 or len(taken) > len(payloads) / 2
            taken += [message.payload for message in await connection.receive(5.0)]
        assert taken == payloads


async def test_a_takeover_that_the_broker_tells_of_is_told(connect: Connect) -> None:
    async with ScriptedBroker() as broker:
        connection = await connect(broker.url)
        broker.send(DISCONNECT << 4, b"\x8e")

        assert isinstance(await asyncio.wait_for(connection.closed, 30), SessionTakenOver)


async def test_a_broker_that_gives_a_reason_is_quoted(connect: Connect) -> None:
    async with ScriptedBroker() as broker:
        connection = await connect(broker.url)
        broker.send(DISCONNECT << 4, b"\x8b")
        reason = await asyncio.wait_for(connection.closed, 30)

    assert isinstance(reason, ConnectionLost)
    assert not reason.wordless
    assert "Server shutting down" in str(reason)


@pytest.mark.parametrize("wordlessly", [False, True])
async def test_where_the_broker_speaks_no_5_we_speak_3(connect: Connect, *, wordlessly: bool) -> None:
    async with ScriptedBroker(versions=(4,), refuses_wordlessly=wordlessly) as broker:
        connection = await connect(broker.url)
        assert connection.protocol == "3.1.1"
        broker.publish(b"a/b", b"1", packet_id=7)
        connection.acknowledge(tokens(await receive(connection, 1)))
        await eventually(lambda: broker.of_type(PUBACK) == [b"\0\7"])


@pytest.mark.parametrize("transport", ["auto"], indirect=True)
async def test_that_it_falls_back_is_said_once_with_the_reason(
    transport: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker(versions=(4,)) as broker:
        settings = Settings(mqtt_url=broker.url, mqtt_client_id=unique, mqtt_transport=transport)  # type: ignore[arg-type]  # by name
        subject = transport_of(settings, Statistics(), "host")
        for _ in range(2):
            connection = await subject.connect()
            await connection.open()
            connection.drop(ConnectionLost("to see it again"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    (told,) = [
        record.getMessage() for record in caplog.records if record.name == "streams.mqtt.select_transport"
    ]
    assert "Using MQTT 3.1.1, by aiomqtt, instead" in told


@pytest.mark.parametrize("transport", ["mqtt5", "aiomqtt"], indirect=True)
@pytest.mark.parametrize("silent_at", [SUBSCRIBE, PUBLISH])
async def test_a_broker_that_does_not_answer_is_an_outage_with_a_reason(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, silent_at: int
) -> None:
    shorten(monkeypatch, 0.5)
    async with ScriptedBroker(silent_at=silent_at) as broker:
        with pytest.raises(Outage, match=r"^mqtt: mqtt://\S+: \w+"):
            await connect(broker.url)


@pytest.mark.parametrize("transport", ["mqtt5"], indirect=True)
async def test_without_a_fallback_a_broker_that_speaks_no_5_is_an_outage(connect: Connect) -> None:
    async with ScriptedBroker(versions=(4,)) as broker:
        with pytest.raises(Outage, match=r"one of MQTT 3\.1\.1, with return code 1"):
            await connect(broker.url)


@pytest.mark.parametrize("transport", ["mqtt5"], indirect=True)
@pytest.mark.parametrize(
    ("connack", "told"),
    [
        (b"\0\x86\0", "the broker refuses us: Bad user name or password"),
        (b"\0\x9d\7\x1c\0\4else", "Server moved else"),
        (b"\0\0\2\x24\0", "QoS 0 alone"),
    ],
)
async def test_what_the_broker_says_of_a_refusal_is_told(connect: Connect, connack: bytes, told: str) -> None:
    async with ScriptedBroker(connack=connack) as broker:
        with pytest.raises(Outage, match=told):
            await connect(broker.url)


@pytest.mark.parametrize("transport", ["mqtt5"], indirect=True)
async def test_a_session_that_is_kept_for_less_than_we_ask_for_is_told(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker(connack=b"\0\0\5\x11\0\0\0\x09") as broker:
        await connect(broker.url)
    assert "keeps our session for 9 s" in caplog.text


async def test_the_broker_decides_how_often_it_is_pinged(connect: Connect) -> None:
    async with ScriptedBroker(connack=b"\0\0\3\x13\0\1") as broker:
        await connect(broker.url)
        await eventually(lambda: broker.of_type(PINGREQ))


async def test_a_broker_that_says_nothing_to_5_is_spoken_to_in_3(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, 0.2)
    async with ScriptedBroker(versions=(4,), stays_silent=True) as broker:
        assert (await connect(broker.url)).protocol == "3.1.1"


async def test_a_broker_that_has_spoken_5_and_falls_silent_is_an_outage(
    unique: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, 0.2)
    async with ScriptedBroker(stays_silent=True) as broker:
        settings = Settings(mqtt_url=broker.url, mqtt_client_id=unique, mqtt_transport=transport)  # type: ignore[arg-type]  # by name
        subject = transport_of(settings, Statistics(), "host")
        first = await subject.connect()
        broker.versions = (4,)
        with pytest.raises(Outage, match="no answer"):
            await subject.connect()
        first.drop(ConnectionLost("the test is over"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_broker_that_speaks_neither_is_an_outage(connect: Connect) -> None:
    async with ScriptedBroker(versions=(), refuses_wordlessly=True) as broker:
        with pytest.raises(Outage, match="closed the connection without an answer"):
            await connect(broker.url)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0x87, "Not authorized; check the broker's access control list$"),
        (0, "Granted QoS (0|at most once); at QoS 0 messages may be lost; let the broker grant QoS 1$"),
        (0x97, "Quota exceeded; raise the broker's quota$"),
        (0x91, "Packet id(entifier)? in use; the next attempt takes another packet id$"),
        (0x83, "Implementation specific error$"),
    ],
)
async def test_a_subscription_that_is_not_granted_at_qos_1_is_an_outage_with_its_own_mend(
    connect: Connect, code: int, told: str
) -> None:
    async with ScriptedBroker(suback=code) as broker:
        with pytest.raises(Outage, match=f"answered with {told}"):
            await connect(broker.url)


# The codec panics on the first of them, and Rust says so where nobody can catch it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("topic", [b"metrics/\xff/edge/cpu", b"metrics/+/edge/#", b"", b"a\0b"])
async def test_a_topic_that_no_broker_should_let_through_does_not_end_the_connection(
    connect: Connect, topic: bytes
) -> None:
    async with ScriptedBroker() as broker:
        connection = await connect(broker.url)
        broker.publish(topic, b"1", packet_id=1)
        broker.publish(b"metrics/a/b/c", b"2", packet_id=2)
        received = await receive(connection, 2)
        assert received[0].topic == topic.decode("utf-8", "surrogateescape")
        assert [message.payload for message in received] == [b"1", b"2"]

        connection.acknowledge(tokens(received))
        await eventually(lambda: broker.of_type(PUBACK) == [b"\0\1", b"\0\2"])
        assert not connection.closed.done()


async def test_garbage_ends_the_connection_and_nothing_else(connect: Connect) -> None:
    async with ScriptedBroker() as broker:
        connection = await connect(broker.url)
        broker.send(PUBLISH << 4 | 2, b"\xff\xff")

        assert isinstance(await asyncio.wait_for(connection.closed, 30), ConnectionLost)


@pytest.mark.parametrize("unanswered", [SUBSCRIBE, PUBLISH])
async def test_a_broker_that_closes_instead_of_answering_is_an_outage_at_once(
    connect: Connect, unanswered: int
) -> None:
    async with ScriptedBroker(closes_at=unanswered) as broker:
        with pytest.raises(ConnectionLost, match="without a reason, instead of answering") as lost:
            await asyncio.wait_for(connect(broker.url), ANSWER_TIMEOUT_S / 2)
    assert not lost.value.wordless  # or it would be taken for a takeover
