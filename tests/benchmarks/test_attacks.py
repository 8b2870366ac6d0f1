"""What an attacker of the benchmarks sends, and what is made of the honest device's times."""

import json
import re
from itertools import pairwise
from pathlib import Path

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.attack_kinds import FLOODS, KINDS, VISITS, Cast
from benchmarks.attacker import Assault, Attacked
from benchmarks.attacks import done_by, figures_of, over_the_limit
from benchmarks.honest import Paced
from benchmarks.hostile import Arrival
from benchmarks.hostility import KINDS as FLOOD_KINDS
from benchmarks.packets import connect
from streams.mqtt.packets import size_of
from tests.parts.accounts import Account, Entrance
from tests.parts.forbidden import odd_topics
from tests.parts.raw_mqtt import NO_MQTT, answers_in, publish_packet

SHIPPED = (Path(__file__).parents[2] / "docker" / "secure" / "mosquitto.conf").read_text()
HONEST = Account("7c9e6679-7425-40de-944b-e07fc1f90ae7", "honest", "first:honest", "p")
HOSTILE = Account("7c9e6679-7425-40de-944b-e07fc1f90ae8", "hostile", "second:hostile", "q")
CAST = Cast(HONEST, HOSTILE, "bridge-id")
WITHOUT_ACCOUNT = {"wrong_password", "no_account", "large_wills"}
ANSWERS = (
    b"\x20\x03\x00\x00\x00\x40\x03\x00\x01\x87\x40\x02\x00\x02\x90\x04\x00\x01\x00\x87\xe0\x01\x9a\xe0\x00"
)
TOLD = ["connack 0x00", "puback 0x87", "puback 0x00", "suback 0x87", "disconnect 0x9a", "disconnect 0x00"]
each_kind = pytest.mark.parametrize("kind", VISITS)


@each_kind
def test_a_visit_begins_with_a_whole_connect(kind: str) -> None:
    for visit in VISITS[kind](CAST):
        packet, size = mqtt5.read(memoryview(visit.connect))
        assert size == len(visit.connect)
        assert isinstance(packet, mqtt5.ConnectPacket)
        assert packet.clean_start
        has_account = (packet.username, packet.password) == (HOSTILE.username, HOSTILE.password.encode())
        assert has_account is (kind not in WITHOUT_ACCOUNT)
        assert visit.encrypted is (kind != "no_tls")
        assert packet.client_id == {"client_id": "bridge-id", "no_account": "nobody"}.get(kind, "")
        assert (packet.will is not None) is (kind == "large_wills")


@each_kind
def test_no_two_packets_that_wait_for_an_answer_have_one_id(kind: str) -> None:
    for visit in VISITS[kind](CAST):
        ids = [_packet_id(packet) for packet in visit.packets]
        assert 0 not in ids
        assert len(set(ids)) == len(ids)


def _packet_id(packet: bytes) -> int:
    at = 1 + next(place for place, byte in enumerate(packet[1:], 1) if byte < 0x80)
    if packet[0] >> 4 == 8:  # a SUBSCRIBE, whose id stands in front
        return int.from_bytes(packet[at : at + 2])
    at += 2 + int.from_bytes(packet[at : at + 2])
    return int.from_bytes(packet[at : at + 2])


def test_a_large_packet_is_larger_than_the_broker_allows() -> None:
    (visit,) = VISITS["large_packets"](CAST)
    allowed = re.search(r"(?m)^max_packet_size (\d+)$", SHIPPED)
    assert allowed is not None
    assert size_of(memoryview(visit.packets[0])) > len(visit.packets[0]) > int(allowed[1])


def test_each_odd_topic_has_a_connection_of_its_own_since_most_end_it() -> None:
    topics = odd_topics(HOSTILE)
    assert len(VISITS["odd_topics"](CAST)) == len(topics) == len(set(topics))
    assert max(map(len, topics)) < 65_536
    for wanted in (b"\0", b"\xff", "\u202e".encode(), b"\x1b", b"//", b"#", b"+"):
        assert any(wanted in topic for topic in topics), wanted


def test_floods_are_kinds_of_hostility() -> None:
    assert set(FLOODS.values()) <= set(FLOOD_KINDS)
    assert len(set(KINDS)) == len(KINDS)


def test_a_publish_can_be_taken_apart_again() -> None:
    packet, size = mqtt5.read(memoryview(publish_packet(b"a/b", 258, b"x" * 200, retain=True)))
    assert isinstance(packet, mqtt5.PublishPacket)
    assert (packet.topic, packet.payload, packet.packet_id, packet.retain) == ("a/b", b"x" * 200, 258, True)
    assert size == 2 + 1 + 5 + 2 + 1 + 200


def test_a_login_stands_in_the_connect_of_a_flood() -> None:
    plain, known = connect("me"), connect("me", "user", "secret")
    assert known.endswith(b"\0\x02me\0\x04user\0\x06secret")
    assert (plain[9], known[9]) == (0x02, 0xC2)


@given(st.lists(st.integers(0, len(ANSWERS)), max_size=8))
def test_answers_are_told_by_their_reason_codes_however_they_are_cut(cuts: list[int]) -> None:
    found, rest = [], b""
    for begin, end in pairwise(sorted({0, *cuts, len(ANSWERS)})):
        answers, rest = answers_in(rest + ANSWERS[begin:end])
        found += answers
    assert (found, rest) == (TOLD, b"")


def test_what_is_no_answer_is_told_and_ends_the_reading() -> None:
    alert = b"\x15\x03\x01\x00\x02\x02\x46"
    assert answers_in(ANSWERS[:5] + alert) == (["connack 0x00", NO_MQTT], b"")


def test_an_assault_is_handed_to_the_process_as_json() -> None:
    assault = Assault("retained", Entrance("127.0.0.1", 8883, "ca.pem"), HONEST, [HOSTILE], "bridge-id")
    assert Assault.read(json.dumps(assault._asdict())) == assault


def test_what_has_not_come_counts_as_if_it_came_in_the_end() -> None:
    paced = Paced(0.25, {"one": 10.0, "two": 10.1, "three": 10.2}, {"one": 10.002, "two": 10.103})
    found = figures_of(paced, {"one": Arrival(10.0, 10.02), "beforehand": Arrival(9.0, 9.5)}, 15.0)
    assert found == {
        "let_in_ms": 250.0,
        "puback": {"p50": 3.0, "p99": 4800.0, "max": 4800.0},
        "end_to_end": {"p50": 4800.0, "p99": 4900.0, "max": 4900.0},
        "not_acknowledged": 1,
        "not_come": 2,
    }


def test_an_attack_is_over_the_limit_by_the_one_time_or_by_the_other() -> None:
    quick, slow = {"p99": 1_000.0}, {"p99": 1_000.01}
    figures = {
        "neither": {"puback": quick, "end_to_end": quick},
        "puback": {"puback": slow, "end_to_end": quick},
        "end": {"puback": quick, "end_to_end": slow},
    }
    assert over_the_limit(figures) == ["puback", "end"]


def test_attempts_are_told_by_the_second_and_of_no_attack_there_are_none() -> None:
    assert done_by(Attacked(500, 2.0, 4, {"closed": 4}))["attempts_a_s"] == 250
    assert done_by(Attacked(0, 0.0, 0, {}))["attempts_a_s"] == 0
