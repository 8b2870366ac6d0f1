"""The packets that the load generator sends, and how it counts what comes back."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.parse import Parsed, parse
from agents.validate import validate
from benchmarks.material import NO_NUMBER, Mix, publications, tenants
from benchmarks.packets import BLOCK, Block, Pubacks, is_accepted, publish, rfc3339
from streams.models import Candidate, Message, Origin
from tests.parts.raw_mqtt import remaining_length

NOW_US = 1_795_442_400_123_456
MIX = Mix(tenants(6))


def read(packets: bytes) -> list[tuple[str, bytes, int]]:
    """Take PUBLISH packets apart as a broker does: topic, payload and packet id of each."""
    found = []
    while packets:
        assert packets[0] == 0x32
        length, at = 0, 1
        for shift in itertools.count(step=7):
            length |= (packets[at] & 0x7F) << shift
            at += 1
            if not packets[at - 1] & 0x80:
                break
        body, packets = packets[at : at + length], packets[at + length :]
        assert len(body) == length
        end = 2 + int.from_bytes(body[:2])
        found.append((body[2:end].decode(), body[end + 2 :], int.from_bytes(body[end : end + 2])))
    return found


@given(st.text(max_size=300), st.binary(max_size=20_000), st.integers(1, 65_535))
def test_a_publish_can_be_taken_apart_again(topic: str, payload: bytes, packet_id: int) -> None:
    assert read(publish(topic, payload, packet_id)) == [(topic, payload, packet_id)]


@pytest.mark.parametrize(
    ("length", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (2_097_152, "80808001")],
)
def test_a_length_is_encoded_as_the_standard_shows_it(length: int, encoded: str) -> None:
    assert remaining_length(length).hex() == encoded


def test_every_message_of_a_block_is_valid_and_has_an_id_of_its_own() -> None:
    block, ids = Block(MIX, 3, "run"), set()
    for number in range(0, 4 * BLOCK, BLOCK):
        for topic, payload, _ in read(bytes(block.stamped(number, BLOCK, NOW_US))):
            parsed = parse(Message(topic, payload.decode()))
            assert isinstance(parsed, Parsed)
            received_at = rfc3339(NOW_US)
            candidate = validate(
                parsed, origin=Origin(0, 0), index=0, received_at=received_at, max_clock_skew_s=1
            )
            assert isinstance(candidate, Candidate)
            assert candidate.reading.timestamp == "2026-11-23 14:00:00.123456"
            ids.add(candidate.id)
    assert len(ids) == 4 * BLOCK


def test_packets_that_are_not_stamped_keep_what_they_have() -> None:
    block = Block(MIX, 0)
    before = read(bytes(block.stamped(0, BLOCK, NOW_US)))
    middle = read(bytes(block.stamped(10, 5, NOW_US + 1)))
    assert [json.loads(payload)["timestamp"] for _, payload, _ in middle] == [rfc3339(NOW_US + 1)] * 5
    after = read(bytes(block._view))
    assert after[:10] + after[15:] == before[:10] + before[15:]


def test_packet_ids_differ_among_all_that_may_be_under_way() -> None:
    block = Block(MIX, 0)
    for first in (0, 253 * BLOCK, 254 * BLOCK, 255 * BLOCK):
        ids = [
            packet_id
            for number in range(first, first + 4 * BLOCK, BLOCK)
            for *_, packet_id in read(bytes(block.stamped(number, BLOCK, NOW_US)))
        ]
        assert len(set(ids)) == 4 * BLOCK
        assert min(ids) > 0


def test_a_block_knows_how_many_rows_must_come_of_it() -> None:
    block = Block(MIX._replace(duplicates=0.2, malformed=0.1), 0)
    for first, count in ((0, BLOCK), (BLOCK + 7, 100), (3, 1)):
        packets = read(bytes(block.stamped(first, count, NOW_US)))
        right = {payload for _, payload, _ in packets if NO_NUMBER.encode() not in payload}
        assert block.rows(first, count) == len(right)
    assert block.rows(0, BLOCK) < BLOCK


@given(st.lists(st.integers(1, 65_535), max_size=600), st.lists(st.integers(1, 50), max_size=60))
def test_pubacks_are_counted_however_they_are_cut(ids: list[int], sizes: list[int]) -> None:
    stream = b"".join(b"\x40\x02" + packet_id.to_bytes(2) for packet_id in ids)
    pubacks = Pubacks()
    for size in [*sizes, len(stream)]:
        part, stream = stream[:size], stream[size:]
        pubacks.feed(part)
    assert pubacks.count == len(ids)


def test_another_packet_among_pubacks_is_noticed() -> None:
    with pytest.raises(ValueError, match="not PUBACKs alone"):
        Pubacks().feed(b"\x40\x02\x00\x01\xd0\x00\x40\x02")


def test_only_a_connack_without_a_reason_lets_us_in() -> None:
    assert is_accepted(b"\x20\x02\x00\x00")
    assert not is_accepted(b"\x20\x02\x00\x05")


def test_publications_are_as_many_as_asked_for_with_the_copies_asked_for() -> None:
    assert len(set(publications(500, MIX))) == 500
    assert len(set(publications(500, MIX._replace(duplicates=0.5)))) < 350
