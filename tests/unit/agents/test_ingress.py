"""Ingress on fakes: what is acknowledged, when, and what happens when a part goes away."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.ingress import Ingress
from streams.counters import Statistics
from streams.errors import ConnectionLost, Outage
from streams.ingress.connection_log import FOUGHT_S, SESSION_LOST_S
from streams.ingress.flow import rfc3339
from streams.ingress.lease import Lease
from streams.ingress.reconnect_delay import (
    CLOSES_MEAN_FIGHT,
    FIGHT_MOST_S,
    QUICK_CLOSE_S,
    RECONNECT_MOST_S,
    STEADY_S,
)
from streams.ingress.testing import FakeChunkWriter, FakeTermSource
from streams.mqtt.testing import FakeTransport
from streams.settings import Settings
from streams.timings import INGRESS
from streams.wire.headers import ChainLink, read_link
from streams.wire.raw import decode
from tests.parts.eventually import eventually

TENANTS = ["7c9e6679-7425-40de-944b-e07fc1f90ae7", "11111111-1111-4111-8111-111111111111", "other"]


def topic(tenant: str = TENANTS[0]) -> str:
    return f"metrics/{tenant}/edge-1/cpu"


@dataclass
class Clock:
    """Time that passes only when ingress sleeps between attempts, or a test says so."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Bench:
    """An ingress between a fake broker and a fake Kafka."""

    broker: FakeTransport
    kafka: FakeChunkWriter
    term_source: FakeTermSource
    clock: Clock
    statistics: Statistics
    ingress: Ingress
    bugs: list[BaseException]
    lease_clock: Clock
    """By which the event loop stands still."""

    def carried(self) -> list[bytes]:
        """The payloads in the log."""
        return [message.payload_bytes() for value in self.kafka.values() for message in decode(value)]

    async def connected(self, times: int = 1) -> None:
        await eventually(lambda: len(self.broker.connections) >= times and self.broker.connection)

    def detail(self) -> str:
        return self.statistics.parts["mqtt"].detail


def bench(**different: object) -> Bench:
    # A linger of 0: with a clock that stands still, no chunk would ever be due.
    chosen = Settings(**({"chunk_linger_ms": 0.0, "mqtt_username": "bridge"} | different))
    statistics, clock, bugs = Statistics(), Clock(), list[BaseException]()
    broker = FakeTransport(receive_maximum=chosen.mqtt_receive_maximum, statistics=statistics)
    kafka, term_source = FakeChunkWriter(), FakeTermSource()
    lease_clock = Clock()
    lease = Lease(8.0, lease_clock.monotonic)
    ingress = Ingress(
        chosen,
        statistics,
        broker,
        kafka,
        term_source=term_source,
        lease=lease,
        on_crash=bugs.append,
        sleep=clock.sleep,
        monotonic=clock.monotonic,
    )
    return Bench(broker, kafka, term_source, clock, statistics, ingress, bugs, lease_clock)


@pytest.fixture
async def parts() -> AsyncIterator[Bench]:
    made = bench()
    await made.ingress.lead()
    await made.connected()
    yield made
    await made.ingress.stand_by()


async def test_a_message_is_carried_as_it_came_and_acknowledged(parts: Bench) -> None:
    parts.broker.publish(topic(), b'{"value": 42.17}')
    await eventually(lambda: parts.broker.acknowledged)

    (record,) = parts.kafka.log
    (message,) = decode(record.value)
    assert (message.topic, message.payload, message.qos) == (topic(), '{"value": 42.17}', 1)
    timings = parts.statistics.timings
    assert timings.latency_s[INGRESS].count == timings.chunk_messages[INGRESS].total == 1
    assert 0 < timings.received_at <= timings.acknowledged_at < timings.received_at + 60
    writer = record.headers["writer"]
    assert record.headers == {"format": b"1", "messages": b"1", "term": b"1", "writer": writer, "seq": b"0"}
    assert parts.broker.waiting == 0
    assert parts.statistics.messages == {"received": 1, "written": 1, "acknowledged": 1}


async def test_records_are_numbered_for_each_partition_until_one_fails(parts: Bench) -> None:
    links: list[ChainLink | None] = []
    for number in range(4):
        if number == 2:
            parts.kafka.fail_next()
        parts.broker.publish(topic(), b"%d" % number)
        await eventually(lambda number=number: len(parts.broker.acknowledged) == number + 1)
        links.append(read_link(parts.kafka.log[-1].headers))

    first, second, third, fourth = links
    assert first is not None
    assert third is not None
    assert second == ChainLink(first.writer, 1)
    assert third == ChainLink(third.writer, 0)
    assert fourth == ChainLink(third.writer, 1)
    assert third.writer != first.writer


async def test_a_worker_that_does_not_lead_any_more_does_not_connect(parts: Bench) -> None:
    parts.term_source.refusal = Outage("kafka", "does not lead")
    parts.broker.lose()
    await eventually(lambda: len(parts.clock.slept) >= 3)
    assert len(parts.broker.connections) == 1
    assert parts.detail().endswith("kafka: does not lead")

    parts.term_source.refusal, parts.term_source.term = None, 9
    await parts.connected(times=2)
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.kafka.log)
    assert parts.kafka.log[0].headers["term"] == b"9"


async def test_what_is_over_the_quota_is_carried_and_marked_also_after_a_reconnect() -> None:
    parts = bench(quota_messages_per_s=0.1, quota_burst_s=30.0)
    await parts.ingress.lead()
    for number in range(5):
        parts.broker.publish(topic(), b"%d" % number)
        await eventually(lambda number=number: len(parts.broker.acknowledged) == number + 1)
    parts.broker.publish(topic(TENANTS[1]), b"another's")
    await eventually(lambda: len(parts.broker.acknowledged) == 6)
    parts.broker.lose()
    await parts.connected(times=2)
    parts.broker.publish(topic(), b"5")
    await eventually(lambda: len(parts.broker.acknowledged) == 7)
    await parts.ingress.stand_by()
    over = [record.headers.get("over_quota") for record in parts.kafka.log]
    assert parts.carried() == [b"0", b"1", b"2", b"3", b"4", b"another's", b"5"]
    assert over == [None, None, None, b"0", b"0", None, b"0"]


async def test_what_is_over_the_quota_never_stands_behind_what_passed_in_one_chunk() -> None:
    """What was accepted of a chunk counts as its last: so what came behind could never be put back."""
    parts = bench(quota_messages_per_s=0.1, quota_burst_s=30.0)
    for number in range(6):
        parts.broker.publish(topic(), b"%d" % number)
    await parts.ingress.lead()
    await eventually(lambda: len(parts.broker.acknowledged) == 6)
    await parts.ingress.stand_by()
    assert parts.carried() == [b"%d" % number for number in range(6)]
    assert [record.headers.get("over_quota") for record in parts.kafka.log] == [None, b"0-2"]


async def test_what_the_broker_delivers_again_is_not_over_a_quota() -> None:
    """Else of two values of an id that passed the first would come again, and the last one not."""
    parts = bench(quota_messages_per_s=0.1, quota_burst_s=20.0)
    await parts.ingress.lead()
    await parts.connected()
    parts.kafka.away = True
    for number in range(3):
        parts.broker.publish(topic(), b"%d" % number)
        await eventually(lambda number=number: parts.kafka.held == number + 1)
    for index in range(3):
        parts.kafka._append(*parts.kafka._held[index][1:])  # written, and the answer is lost
    parts.kafka.fail_held()
    parts.kafka.away = False
    await eventually(lambda: len(parts.broker.acknowledged) == 3)
    await parts.ingress.stand_by()
    again = parts.kafka.log[3:]
    assert [message.payload for record in again for message in decode(record.value)] == ["0", "1", "2"]
    assert {record.headers.get("over_quota") for record in again} == {None}


async def test_without_a_term_none_is_written() -> None:
    parts = bench()
    parts.term_source.term = 0
    await parts.ingress.lead()
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.kafka.log)
    assert "term" not in parts.kafka.log[0].headers
    await parts.ingress.stand_by()


async def test_an_ingress_that_stood_still_drops_its_connection_and_leads_again_only_if_it_still_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.ingress.lease.EVERY_S", 0.001)
    parts = bench()
    parts.kafka.away = True
    await parts.ingress.lead()
    await parts.connected()
    parts.term_source.refusal = Outage("kafka", "does not lead")
    parts.lease_clock.now += 9.0
    await eventually(lambda: "kafka: does not lead" in parts.detail())

    assert parts.broker.connection is None
    assert "this process stood still for" in caplog.text
    await parts.ingress.stand_by()


async def test_a_lost_session_is_told_with_the_mend_counted_and_readiness_fails_for_a_while(
    parts: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await parts.ingress.check()
    parts.broker.lose_session()
    parts.broker.lose()
    await parts.connected(times=2)

    with pytest.raises(Outage, match=r"the MQTT broker has lost our session.*MQTT_SESSION_EXPIRY_S"):
        await parts.ingress.check()
    assert "the MQTT broker has lost our session" in caplog.text
    assert parts.statistics.notes["sessions_lost"] == 1
    assert parts.statistics.parts["mqtt"].up

    parts.clock.now += SESSION_LOST_S + 1
    await parts.ingress.check()


async def test_a_lost_session_is_told_by_a_process_that_has_only_the_log_to_know_it_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = bench()
    parts.term_source.had_session = True
    await parts.ingress.lead()
    await parts.connected()
    await eventually(lambda: parts.statistics.notes["sessions_lost"] == 1)
    assert "the MQTT broker has lost our session" in caplog.text
    await parts.ingress.stand_by()


@pytest.mark.parametrize("kept", [False, True])
async def test_a_session_that_another_client_id_has_left_behind_is_told(
    caplog: pytest.LogCaptureFixture, *, kept: bool
) -> None:
    parts = bench()
    parts.term_source.others = frozenset({"the-old-id"})
    if kept:
        before = await parts.broker.connect()
        await before.open()
        before.drop(ConnectionLost("a test made the session beforehand"))
    await parts.ingress.lead()
    await parts.connected(times=1 + kept)
    await eventually(lambda: parts.statistics.parts["mqtt"].up)
    assert ("set MQTT_CLIENT_ID=the-old-id again" in caplog.text) is not kept
    await parts.ingress.stand_by()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mqtt_username": ""}, 1),
        ({"mqtt_username": "", "mqtt_client_id": "nobody-guesses-it"}, 0),
        ({"mqtt_username": "bridge"}, 0),
        ({"mqtt_username": "", "mqtt_url": "mqtt://bridge:s3cr3t@broker"}, 0),
    ],
)
async def test_a_session_that_anybody_could_take_is_told_once(
    caplog: pytest.LogCaptureFixture, settings: dict[str, str], told: int
) -> None:
    parts = bench(**settings)
    await parts.ingress.lead()
    await parts.connected()
    parts.broker.lose()
    await parts.connected(times=2)
    assert caplog.text.count("whoever reaches the MQTT broker can wipe what it keeps for us") == told
    await parts.ingress.stand_by()


async def test_a_session_that_never_was_is_not_lost() -> None:
    parts = bench()
    await parts.ingress.lead()
    await parts.connected()
    await eventually(lambda: parts.statistics.parts["mqtt"].up)
    await parts.ingress.check()
    assert parts.statistics.notes["sessions_lost"] == 0
    await parts.ingress.stand_by()


async def test_nothing_is_acknowledged_before_kafka_has_it(parts: Bench) -> None:
    parts.kafka.away = True
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.kafka.held == 1)
    assert parts.broker.acknowledged == []

    parts.kafka.come_back()
    await eventually(lambda: parts.broker.acknowledged == [(topic(), b"1")])


async def test_acknowledgements_follow_the_order_of_arrival_not_that_of_kafka(parts: Bench) -> None:
    parts.kafka.away = True
    for number, tenant in enumerate(TENANTS):
        parts.broker.publish(topic(tenant), b"%d" % number)
        await eventually(lambda number=number: parts.kafka.held == number + 1)

    parts.kafka.release(2)
    parts.kafka.release(1)
    await _breathe()
    assert parts.broker.acknowledged == []

    parts.kafka.release(0)
    await eventually(lambda: [payload for _, payload in parts.broker.acknowledged] == [b"0", b"1", b"2"])


async def test_a_chunk_that_kafka_refuses_is_delivered_again_in_order(parts: Bench) -> None:
    parts.kafka.fail_next()
    for number in range(3):
        parts.broker.publish(topic(), b"%d" % number)
    await eventually(lambda: len(parts.broker.acknowledged) == 3)

    assert parts.carried() == [b"0", b"1", b"2"]
    assert [payload for _, payload in parts.broker.acknowledged] == [b"0", b"1", b"2"]
    assert len(parts.broker.connections) == 2


async def test_what_a_lost_connection_left_unacknowledged_is_acknowledged_on_the_next(parts: Bench) -> None:
    parts.kafka.away = True
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.kafka.held == 1)
    parts.broker.lose()
    parts.kafka.come_back()
    await eventually(lambda: parts.broker.acknowledged == [(topic(), b"1")])

    assert parts.carried() == [b"1", b"1"]  # the copy that dedupe is there for
    assert parts.broker.waiting == 0


async def test_while_kafka_is_away_a_lost_connection_does_not_multiply_what_is_read(parts: Bench) -> None:
    parts.kafka.away = True
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.kafka.held == 1)
    parts.broker.lose()
    await eventually(lambda: parts.clock.slept)
    await _breathe()
    assert parts.broker.connection is None

    parts.kafka.come_back()
    await parts.connected(times=2)


async def test_receive_maximum_bounds_what_waits_for_kafka() -> None:
    parts = bench(mqtt_receive_maximum=10)
    await parts.ingress.lead()
    await parts.connected()
    parts.kafka.away = True
    for number in range(25):
        parts.broker.publish(topic(), b"%d" % number)
    await eventually(lambda: parts.statistics.messages["received"] == 10)

    parts.kafka.come_back()
    await eventually(lambda: len(parts.broker.acknowledged) == 25)
    assert parts.carried() == [b"%d" % number for number in range(25)]
    await parts.ingress.stand_by()


async def test_retained_messages_are_acknowledged_counted_and_not_carried(parts: Bench) -> None:
    parts.broker.publish(topic(), b"old", retained=True)
    parts.broker.publish(topic(), b"new")
    await eventually(lambda: len(parts.broker.acknowledged) == 2)

    assert parts.carried() == [b"new"]
    assert parts.statistics.notes["retained_skipped"] == 1


async def test_qos0_is_carried_without_an_acknowledgement(parts: Bench) -> None:
    parts.broker.publish(topic(), b"1", qos=0)
    await eventually(lambda: parts.kafka.log)

    assert decode(parts.kafka.log[0].value)[0].qos == 0
    assert parts.statistics.messages == {"received": 1, "written": 1}


async def test_qos0_that_a_lost_connection_leaves_behind_is_counted() -> None:
    parts = bench(chunk_linger_ms=1_000.0, chunk_linger_max_ms=1_000.0)
    await parts.ingress.lead()
    await parts.connected()
    parts.broker.publish(topic(), b"1", qos=0)
    await eventually(lambda: parts.statistics.messages["received"] == 1)
    parts.broker.lose()
    await eventually(lambda: parts.statistics.notes["qos0_dropped"] == 1)
    await parts.ingress.stand_by()


async def test_a_topic_that_is_not_utf8_is_carried_too(parts: Bench) -> None:
    parts.broker.publish(b"metrics/a/\xff/c".decode("utf-8", "surrogateescape"), b"1")
    await eventually(lambda: parts.broker.acknowledged)

    assert decode(parts.kafka.log[0].value)[0].topic == "metrics/a/\ufffd/c"


async def test_standing_by_writes_and_acknowledges_what_was_received() -> None:
    parts = bench(chunk_linger_ms=1_000.0, chunk_linger_max_ms=1_000.0)
    await parts.ingress.lead()
    await parts.connected()
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.statistics.messages["received"] == 1)
    assert parts.kafka.log == []

    await parts.ingress.stand_by()

    assert parts.carried() == [b"1"]
    assert parts.broker.acknowledged == [(topic(), b"1")]
    assert parts.broker.statuses == [b"online", b"offline"]
    assert parts.detail() == "standing by"
    assert not parts.kafka.is_open
    assert not parts.ingress.is_leading


async def test_what_kafka_does_not_take_when_standing_by_stays_with_the_broker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agents.ingress.FINISH_TIMEOUT_S", 0.01)
    parts = bench()
    await parts.ingress.lead()
    await parts.connected()
    parts.kafka.away = True
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.kafka.held == 1)

    await parts.ingress.stand_by()

    assert parts.broker.waiting == 1
    assert parts.broker.acknowledged == []
    assert parts.broker.statuses == [b"online", b"offline"]
    assert "the broker has kept it" in caplog.text


async def test_after_standing_by_it_can_lead_again(parts: Bench) -> None:
    await parts.ingress.stand_by()
    parts.broker.publish(topic(), b"meanwhile")
    await parts.ingress.lead()
    await eventually(lambda: parts.carried() == [b"meanwhile"])


async def test_to_lead_twice_opens_one_connection(parts: Bench) -> None:
    await parts.ingress.lead()

    assert len(parts.broker.connections) == 1


async def test_a_worker_that_still_leads_comes_back_at_once_after_a_takeover(
    parts: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    parts.broker.publish(topic(), b"before")
    await eventually(lambda: parts.broker.acknowledged)
    parts.broker.take_over()
    parts.broker.publish(topic(), b"meanwhile")
    await eventually(lambda: len(parts.broker.acknowledged) == 2)

    assert parts.clock.slept == []
    assert "MQTT_CLIENT_ID=metric-streams is in use elsewhere" in caplog.text
    assert "The broker has kept our session" in caplog.text
    assert parts.statistics.notes["sessions_lost"] == 0


async def test_a_worker_that_does_not_lead_any_more_leaves_the_session_to_whoever_took_it(
    parts: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    parts.term_source.refusal = Outage("kafka", "another worker leads")
    parts.broker.take_over()
    await eventually(lambda: len(parts.clock.slept) >= 3)

    assert len(parts.broker.connections) == 1
    assert "another worker leads" in parts.detail()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("told", [True, False])
async def test_a_visitor_that_has_wiped_our_session_is_told_apart_from_a_broker_that_has_lost_it(
    parts: Bench, caplog: pytest.LogCaptureFixture, *, told: bool
) -> None:
    if told:
        parts.broker.take_over()
    else:  # as Mosquitto 2.0.11 does it
        parts.broker.lose(wordless=True)
    parts.broker.lose_session()
    await parts.connected(times=2)
    await eventually(lambda: parts.statistics.notes["sessions_lost"] == 1)

    assert parts.clock.slept == []
    assert "another client with our MQTT client id has wiped our session" in caplog.text
    with pytest.raises(Outage, match="wiped our session"):
        await parts.ingress.check()


async def test_a_broker_that_was_away_has_lost_the_session_itself(
    parts: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    parts.broker.refusal = Outage("mqtt", "restarts")
    parts.broker.lose_session()
    parts.broker.lose(wordless=True)
    await eventually(lambda: parts.clock.slept)
    parts.broker.refusal = None
    await parts.connected(times=2)
    await eventually(lambda: parts.statistics.notes["sessions_lost"] == 1)

    assert "the MQTT broker has lost our session" in caplog.text


async def test_who_is_fought_with_gives_in_for_longer_each_time_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = bench()
    await parts.ingress.lead()
    for number in range(1, 12):
        await parts.connected(times=number)
        parts.broker.take_over()
    await eventually(lambda: len(parts.clock.slept) == 12 - CLOSES_MEAN_FIGHT)
    await parts.ingress.stand_by()

    assert parts.clock.slept[0] <= 1.0
    assert FIGHT_MOST_S / 2 <= parts.clock.slept[-1] <= FIGHT_MOST_S
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == len(parts.clock.slept)
    assert "Give each deployment a client id of its own" in errors[0]


async def test_after_a_steady_connection_a_takeover_is_no_fight_any_more(parts: Bench) -> None:
    for number in range(1, 5):
        await parts.connected(times=number)
        parts.broker.take_over()
    await parts.connected(times=5)
    parts.clock.now += STEADY_S + 1
    parts.clock.slept.clear()
    parts.broker.take_over()
    await parts.connected(times=6)
    assert parts.clock.slept == []


@pytest.mark.parametrize("what", ["refused", "closed"])
async def test_what_ends_the_opening_is_an_outage_with_backoff_and_no_takeover(what: str) -> None:
    parts = bench()
    parts.broker.opening_refusal = (
        Outage("mqtt", "subscribing was refused")
        if what == "refused"
        else ConnectionLost("closed instead of answering the SUBSCRIBE")
    )
    await parts.ingress.lead()
    await eventually(lambda: len(parts.clock.slept) >= 10)

    assert parts.broker.opening_refusal.detail in parts.detail()
    assert RECONNECT_MOST_S / 2 <= parts.clock.slept[9] <= RECONNECT_MOST_S
    parts.broker.opening_refusal = None
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.broker.acknowledged and parts.statistics.parts["mqtt"].up)
    await parts.ingress.stand_by()


async def test_while_a_connection_is_opened_messages_are_carried_and_acknowledged() -> None:
    parts = bench()
    parts.broker.stays_shut = True  # as where the SUBACK stands behind a backlog
    await parts.ingress.lead()
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.broker.acknowledged == [(topic(), b"1")])

    assert not parts.statistics.parts["mqtt"].up
    await parts.ingress.stand_by()


async def test_what_the_log_shows_of_our_session_is_handed_to_the_connection(parts: Bench) -> None:
    parts.term_source.subscriptions = frozenset({"old/#"})
    parts.broker.lose()
    await parts.connected(times=2)
    connection = parts.broker.connection
    assert connection is not None
    await eventually(lambda: connection.past.subscriptions == {"old/#"})
    assert not connection.past.unbroken  # the term source has answered anew: another may have led meanwhile


async def test_a_bug_in_the_opening_is_told_and_handed_on() -> None:
    parts = bench()
    parts.broker.opening_refusal = ZeroDivisionError()  # type: ignore[assignment]  # a bug
    await parts.ingress.lead()
    await eventually(lambda: parts.bugs)
    assert isinstance(parts.bugs[0], ZeroDivisionError)


async def _lose_often(parts: Bench, *, lasting_s: list[float], wordless: bool = True, first: int = 1) -> None:
    for number, seconds in enumerate(lasting_s, start=first):
        await parts.connected(times=number)
        parts.clock.now += seconds
        parts.broker.lose(wordless=wordless)


async def test_wordless_closes_in_quick_succession_are_taken_for_a_fight(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = bench()
    await parts.ingress.lead()
    await _lose_often(parts, lasting_s=[3_600.0] + [0.1] * (CLOSES_MEAN_FIGHT - 2))
    assert parts.clock.slept == []  # a broker that went down would have been found out by coming back at once
    await _lose_often(parts, lasting_s=[0.1], first=CLOSES_MEAN_FIGHT)
    await eventually(lambda: parts.clock.slept)

    assert "takes our session again and again" in caplog.text
    await parts.ingress.stand_by()


async def test_readiness_tells_for_a_while_that_another_client_fights_for_our_session() -> None:
    parts = bench()
    await parts.ingress.lead()
    await _lose_often(parts, lasting_s=[0.1] * CLOSES_MEAN_FIGHT)
    await parts.connected(times=CLOSES_MEAN_FIGHT + 1)
    await eventually(lambda: parts.statistics.parts["mqtt"].up)
    with pytest.raises(Outage, match="is in use elsewhere"):
        await parts.ingress.check()
    assert parts.statistics.notes["sessions_taken_over"] == 1

    parts.clock.now += FOUGHT_S
    await parts.ingress.check()
    await parts.ingress.stand_by()


@pytest.mark.parametrize(
    ("wordless", "lasting_s"),
    [
        (False, [0.1] * 9),
        (True, [QUICK_CLOSE_S] * 9),
        (True, ([0.1] * (CLOSES_MEAN_FIGHT - 2) + [60.0]) * 4),
    ],
)
async def test_other_losses_are_not_taken_for_a_fight(
    lasting_s: list[float], caplog: pytest.LogCaptureFixture, *, wordless: bool
) -> None:
    parts = bench()
    await parts.ingress.lead()
    await _lose_often(parts, lasting_s=lasting_s, wordless=wordless)
    await parts.connected(times=len(lasting_s) + 1)
    await parts.ingress.stand_by()
    assert "again and again" not in caplog.text


async def test_a_broker_that_was_away_in_between_has_not_given_the_session_to_another() -> None:
    parts = bench()
    await parts.ingress.lead()
    await _lose_often(parts, lasting_s=[0.1] * (CLOSES_MEAN_FIGHT - 1))
    parts.broker.refusal = Outage("mqtt", "restarts")
    await eventually(lambda: parts.detail() == "restarts")
    parts.broker.refusal = None
    await parts.connected(times=CLOSES_MEAN_FIGHT)
    parts.broker.lose(wordless=True)
    await parts.connected(times=CLOSES_MEAN_FIGHT + 1)
    await parts.ingress.stand_by()


async def test_waits_between_attempts_grow_to_their_bound_and_are_short_again_after_a_steady_connection() -> (
    None
):
    parts = bench()
    parts.broker.refusal = Outage("mqtt", "is away")
    await parts.ingress.lead()
    await eventually(lambda: len(parts.clock.slept) >= 10)
    assert parts.clock.slept[0] <= 0.5
    assert all(RECONNECT_MOST_S / 2 <= slept <= RECONNECT_MOST_S for slept in parts.clock.slept[8:10])

    parts.broker.refusal = None
    await parts.connected()
    parts.clock.now += STEADY_S + 1
    parts.clock.slept.clear()
    parts.broker.lose()
    await parts.connected(times=2)
    assert parts.clock.slept[0] <= 0.5
    await parts.ingress.stand_by()


async def test_an_outage_is_noted_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    parts = bench()
    parts.broker.refusal = Outage("mqtt", "is away")
    await parts.ingress.lead()
    await eventually(lambda: len(parts.clock.slept) >= 5)
    assert not parts.statistics.parts["mqtt"].up
    assert parts.detail() == "is away"
    parts.broker.refusal = None
    await parts.connected()
    await eventually(lambda: parts.statistics.parts["mqtt"].up)

    told = [
        record.getMessage() for record in caplog.records if record.name == "streams.ingress.connection_log"
    ]
    assert len(told) == 1
    assert "ingress is connected (MQTT 5" in told[0]
    assert not parts.statistics.parts["mqtt"].troubles
    await parts.ingress.stand_by()


async def test_it_does_not_connect_while_kafka_is_away() -> None:
    parts = bench()
    parts.kafka.refusal = Outage("kafka", "is away")
    await parts.ingress.lead()
    await eventually(lambda: len(parts.clock.slept) >= 3)
    assert parts.broker.connections == []
    assert parts.detail() == "not connected, waiting for kafka: is away"
    assert "ingress" in parts.statistics.parts["kafka"].troubles
    assert not parts.statistics.parts["mqtt"].troubles

    parts.kafka.refusal = None
    await parts.connected()
    await eventually(lambda: parts.statistics.parts["kafka"].up and parts.statistics.parts["mqtt"].up)
    await parts.ingress.stand_by()


@pytest.mark.parametrize("away", ["kafka", "broker"])
async def test_standing_by_ends_the_attempts(away: str) -> None:
    parts = bench()
    parts.kafka.refusal = Outage("kafka", "is away") if away == "kafka" else None
    parts.broker.refusal = Outage("mqtt", "is away")
    await parts.ingress.lead()
    await eventually(lambda: parts.clock.slept)

    await parts.ingress.stand_by()

    assert not parts.ingress.is_leading


async def test_a_bug_is_told_and_handed_on(parts: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def defective(*_: object) -> None:
        raise ZeroDivisionError

    parts.kafka.write = defective  # type: ignore[assignment,method-assign]  # a bug cannot be had otherwise
    parts.broker.publish(topic(), b"1")
    await eventually(lambda: parts.bugs)

    assert isinstance(parts.bugs[0], ZeroDivisionError)
    assert not parts.statistics.parts["mqtt"].up
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)
    assert parts.broker.waiting == 1


Step = Callable[[Bench], None]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(TENANTS)),
        st.tuples(st.sampled_from(["lose", "fail", "away", "back", "breathe"]), st.just("")),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_whatever_breaks_nothing_is_lost_and_first_copies_keep_their_order(
    history: list[tuple[str, str]],
) -> None:
    asyncio.run(_live_through(history))


async def _breathe() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _live_through(history: list[tuple[str, str]]) -> None:
    parts = bench(mqtt_receive_maximum=7, chunk_max_messages=3)
    await parts.ingress.lead()
    sent: list[tuple[str, bytes]] = []
    acts: dict[str, Callable[[], object]] = {
        "lose": parts.broker.lose,
        "fail": parts.kafka.fail_next,
        "away": lambda: setattr(parts.kafka, "away", True),
        "back": parts.kafka.come_back,
        "breathe": lambda: None,
    }
    for act, tenant in history:
        if act == "publish":
            sent.append((topic(tenant), b"%d" % len(sent)))
            parts.broker.publish(*sent[-1])
        else:
            acts[act]()
            await _breathe()
    parts.kafka.come_back()
    await eventually(lambda: parts.broker.waiting == 0 and len(parts.broker.acknowledged) >= len(sent))
    await parts.ingress.stand_by()

    assert parts.broker.acknowledged == sent
    assert not parts.bugs
    for partition in range(8):
        carried = [
            (message.topic, message.payload_bytes())
            for value in parts.kafka.values(partition)
            for message in decode(value)
        ]
        assert list(dict.fromkeys(carried)) == [one for one in sent if one in carried]
    assert {message.payload_bytes() for value in parts.kafka.values() for message in decode(value)} == {
        payload for _, payload in sent
    }


@pytest.mark.parametrize(
    ("unix_ns", "text"),
    [
        (1_795_442_400_123_456_789, "2026-11-23T14:00:00.123456Z"),
        (0, "1970-01-01T00:00:00.000000Z"),
        (999_999_999, "1970-01-01T00:00:00.999999Z"),
    ],
)
def test_the_time_of_arrival_is_rfc3339_with_microseconds(unix_ns: int, text: str) -> None:
    assert rfc3339(unix_ns) == text
