import itertools
import tracemalloc

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from streams.ingress.chunking import (
    MESSAGES_TO_DOUBLE,
    TENANT_LENGTH,
    TOPICS_REMEMBERED,
    Chunk,
    Chunker,
    Linger,
    partition_of,
    tenant_level,
)
from streams.ingress.cpu_load import CpuLoad
from streams.ingress.pubacks import InOrderAcks
from streams.models import Message
from streams.wire.raw import decode, encode_message

PARTITIONS, MAX_MESSAGES, MAX_BYTES, MAX_WAITING, LINGER_S = 4, 5, 1_024, 9, 0.01
AT = "2026-11-23T14:00:00.123456Z"

tenants = st.sampled_from([f"tenant-{number}" for number in range(8)])
arrivals = st.lists(st.tuples(tenants, st.binary(max_size=700), st.floats(0, 0.02)), max_size=60)


def chunker(**different: int) -> Chunker[int]:
    options = {"max_messages": MAX_MESSAGES, "max_bytes": MAX_BYTES, "max_waiting": MAX_WAITING} | different
    return Chunker(
        partitions=PARTITIONS,
        **options,
        linger=Linger(LINGER_S / 2, LINGER_S),
        new_ticket=itertools.count().__next__,
    )


def add(subject: Chunker[int], topic: str, payload: bytes) -> None:
    subject.add(topic, encode_message(topic, payload, AT, 1))


def feed(subject: Chunker[int], messages: list[tuple[str, bytes, float]]) -> list[Chunk[int]]:
    """Add each message after its delay, taking what is due each time, and the rest at the end."""
    now, cut = 0.0, []
    for number, (tenant, payload, delay_s) in enumerate(messages):
        now += delay_s
        cut += subject.due(now, 0)
        add(subject, f"metrics/{tenant}/{number}/cpu", payload)
        cut += subject.due(now, 0)
    return cut + subject.rest()


def number_of(message: Message) -> int:
    return int(message.topic.split("/")[2])


def numbers(chunk: Chunk[int]) -> list[int]:
    return [number_of(message) for message in decode(chunk.value())]


@given(arrivals)
def test_every_message_comes_out_exactly_once(messages: list[tuple[str, bytes, float]]) -> None:
    found = [number for chunk in feed(chunker(), messages) for number in numbers(chunk)]

    assert sorted(found) == list(range(len(messages)))


@given(arrivals)
def test_a_partition_keeps_its_order(messages: list[tuple[str, bytes, float]]) -> None:
    chunks = feed(chunker(), messages)

    for partition in range(PARTITIONS):
        found = [number for chunk in chunks if chunk.partition == partition for number in numbers(chunk)]
        assert found == sorted(found)


@given(arrivals)
def test_a_ticket_is_asked_for_when_the_first_message_of_a_chunk_is_added(
    messages: list[tuple[str, bytes, float]],
) -> None:
    chunks = sorted(feed(chunker(), messages), key=lambda chunk: chunk.ticket)

    assert [chunk.ticket for chunk in chunks] == list(range(len(chunks)))
    firsts = [numbers(chunk)[0] for chunk in chunks]
    assert firsts == sorted(firsts)


@given(arrivals)
def test_a_message_is_in_its_tenants_partition_as_it_came(messages: list[tuple[str, bytes, float]]) -> None:
    for chunk in feed(chunker(), messages):
        for message in decode(chunk.value()):
            tenant, payload, _ = messages[number_of(message)]
            assert message.topic.startswith(f"metrics/{tenant}/")
            assert message.payload_bytes() == payload
            assert chunk.partition == partition_of(tenant, PARTITIONS)


@given(arrivals)
def test_a_chunk_keeps_to_count_and_bytes_unless_one_message_alone_is_larger(
    messages: list[tuple[str, bytes, float]],
) -> None:
    for chunk in feed(chunker(), messages):
        assert 1 <= len(chunk.messages) <= MAX_MESSAGES
        assert chunk.size_bytes == len(chunk.value())
        assert len(chunk.value()) <= MAX_BYTES or len(chunk.messages) == 1


@given(arrivals)
def test_no_message_waits_longer_than_the_linger(messages: list[tuple[str, bytes, float]]) -> None:
    subject, now, waiting = chunker(), 0.0, dict[int, float]()

    def take(until: float) -> None:
        for chunk in subject.due(until, 0):
            for number in numbers(chunk):
                assert until - waiting.pop(number) <= LINGER_S + 1e-9

    for number, (tenant, payload, delay_s) in enumerate(messages):
        while (due_at := subject.next_due()) is not None and due_at <= now + delay_s:
            take(due_at)
        now += delay_s
        waiting[number] = now
        add(subject, f"metrics/{tenant}/{number}/cpu", payload)
        take(now)
        assert len(waiting) < MAX_WAITING


def test_a_young_chunk_is_not_cut() -> None:
    subject = chunker()
    add(subject, "metrics/a/b/c", b"{}")

    assert subject.due(5.0, 0) == []
    assert subject.due(5.0 + LINGER_S / 4, 0) == []
    assert subject.next_due() == 5.0 + LINGER_S / 2
    assert len(subject.due(5.0 + LINGER_S / 2, 0)) == 1


def test_all_that_is_open_leaves_with_the_oldest_which_waits_longer_the_more_there_are() -> None:
    subject = chunker()
    add(subject, "metrics/a/b/c", b"{}")
    assert subject.due(5.0, 0) == []
    add(subject, "metrics/other/b/c", b"{}")
    assert subject.due(5.0 + LINGER_S / 2, 0) == []

    assert len(subject.due(5.0 + LINGER_S, 0)) == 2
    assert subject.next_due() is None


def test_what_waits_leaves_early_where_no_more_could_come() -> None:
    subject = chunker(max_waiting=3)
    for tenant in ("a", "b"):
        add(subject, f"metrics/{tenant}/b/c", b"{}")
    assert subject.due(5.0, 0) == []
    add(subject, "metrics/a/b/c", b"{}")

    assert sum(len(chunk.messages) for chunk in subject.due(5.0, 0)) == 3


def test_nothing_is_due_where_nothing_waits() -> None:
    subject = chunker()

    assert subject.next_due() is None
    assert subject.due(1_000.0, 0) == []
    assert subject.rest() == []


def test_a_full_chunk_is_due_at_once() -> None:
    subject = chunker(max_messages=2)
    for number in range(3):
        add(subject, f"metrics/a/{number}/c", b"{}")

    assert [numbers(chunk) for chunk in subject.due(0.0, 0)] == [[0, 1]]
    assert [numbers(chunk) for chunk in subject.rest()] == [[2]]


def test_what_is_beyond_a_quota_is_named_and_does_not_count_among_the_messages_of_a_chunk() -> None:
    subject = chunker(max_messages=2, max_bytes=10**6)
    over = [True, False, True, True, False, False]
    chunks = []
    for number, is_over in enumerate(over):
        encoded = encode_message(f"metrics/tenant/{number}/cpu", b"1", AT, 1)
        chunks.append(subject.add("metrics/tenant", encoded, over_quota=is_over))
    (full,) = subject.due(0.0, 0)
    (rest,) = subject.rest()
    assert chunks == [full] * 5 + [rest]
    assert (len(full.messages), full.over_quota) == (5, [0, 2, 3])
    assert (len(rest.messages), rest.over_quota) == (1, [])


def test_a_chunk_that_is_ended_is_due_and_the_next_message_begins_another() -> None:
    subject = chunker()
    topic = "metrics/tenant/1/cpu"
    subject.end(topic)
    add(subject, topic, b"1")
    subject.end(topic.replace("tenant", "TENANT"))
    add(subject, topic, b"2")
    chunks = subject.rest()
    assert [len(chunk.messages) for chunk in chunks] == [1, 1]
    assert len({chunk.ticket for chunk in chunks}) == 2


def test_what_is_beyond_a_quota_counts_by_its_bytes() -> None:
    subject = chunker(max_messages=2)
    for number in range(100):
        encoded = encode_message(f"metrics/tenant/{number}/cpu", b"1", AT, 1)
        subject.add("metrics/tenant", encoded, over_quota=True)
    chunks = subject.rest()
    assert sum(len(each.messages) for each in chunks) == 100
    assert len(chunks) > 5
    assert all(each.size_bytes <= MAX_BYTES for each in chunks)


def test_the_linger_is_for_each_chunk() -> None:
    assert Linger(0.0025, 0.05)(1, 0) == 0.0025
    assert Linger(0.0025, 0.05)(8, 0) == 0.02


def test_the_linger_grows_with_what_is_on_its_way_to_kafka_up_to_its_most() -> None:
    assert Linger(0.005, 0.05)(1, MESSAGES_TO_DOUBLE) == 0.01
    assert Linger(0.005, 0.05)(2, 2 * MESSAGES_TO_DOUBLE) == 0.03
    assert Linger(0.005, 0.05)(1, 100 * MESSAGES_TO_DOUBLE) == 0.05


def test_a_most_that_is_less_than_one_chunk_waits_is_none() -> None:
    assert Linger(0.1, 0.05)(9, 100 * MESSAGES_TO_DOUBLE) == 0.1


def test_messages_wait_longer_where_the_worker_is_busy_but_within_bounds() -> None:
    linger = Linger(0.005, 0.05)
    assert linger(1, 0, 0.0) == linger(1, 0, 0.5) == 0.005
    assert linger(1, 0, 0.75) == pytest.approx(0.015)
    assert linger(1, 0, 0.95) == linger(1, 0, 3.0) == 0.05
    assert linger(0, 0, 3.0) == 0.0


def test_the_load_follows_what_was_used_of_late() -> None:
    load = CpuLoad(100.0, 7.0)
    load.note(100.0, 7.0)
    assert load.share == 0.0
    load.note(101.0, 7.8)
    assert load.share == pytest.approx(0.8)
    load.note(101.05, 7.8)
    assert load.share == pytest.approx(0.72)
    load.note(500.0, 7.8)
    assert load.share == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("topic", "tenant"),
    [
        ("metrics/7C9E/edge-7/cpu", "7c9e"),
        ("metrics/7c9e", "7c9e"),
        ("metrics", ""),
        ("", ""),
        ("metrics//edge/cpu", ""),
    ],
)
def test_the_tenant_is_the_second_level_whatever_its_case(topic: str, tenant: str) -> None:
    assert tenant_level(topic) == tenant


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 64))
def test_the_partition_is_the_one_that_kafka_chooses_for_the_key(tenant: str, partitions: int) -> None:
    everything = list(range(partitions))

    assert partition_of(tenant, partitions) == DefaultPartitioner()(tenant.encode(), everything, everything)


def test_a_tenant_level_that_is_not_utf8_has_a_partition() -> None:
    assert 0 <= partition_of(b"\xff\xfe".decode("utf-8", "surrogateescape"), 8) < 8


@st.composite
def chunkings(draw: st.DrawFn) -> list[int | None]:
    """Each message's chunk, of those that began before it or the next new one; None for one in no chunk."""
    began, places = 0, list[int | None]()
    for _ in range(draw(st.integers(0, 40))):
        place = draw(st.none() | st.integers(0, began))
        began += place == began
        places.append(place)
    return places


@given(st.data(), chunkings())
def test_acknowledgements_come_in_order_complete_as_early_as_may_be_and_never_before_durability(
    data: st.DataObject, places: list[int | None]
) -> None:
    acks: InOrderAcks[int] = InOrderAcks()
    tickets = []
    for number, place in enumerate(places):
        if place == len(tickets):
            tickets.append(acks.begin())
        acks.received(number)
    durable, released = set[int | None]([None]), acks.free()
    for place in data.draw(st.permutations(range(len(tickets)))):
        durable.add(place)
        released += acks.durable(tickets[place])
        assert released == list(
            itertools.takewhile(lambda number: places[number] in durable, range(len(places)))
        )

    assert released == list(range(len(places)))
    assert len(acks) == 0


def test_one_that_is_not_durable_holds_back_those_behind_it() -> None:
    acks: InOrderAcks[str] = InOrderAcks()
    tickets = []
    for token in "abc":
        tickets.append(acks.begin())
        acks.received(token)

    assert acks.durable(tickets[2]) == []
    assert acks.durable(tickets[1]) == []
    assert acks.durable(tickets[0]) == ["a", "b", "c"]


def test_what_comes_while_others_wait_is_in_order_with_them() -> None:
    acks: InOrderAcks[str] = InOrderAcks()
    first = acks.begin()
    acks.received("a")
    second = acks.begin()
    acks.received("b")
    acks.received("c")  # again of the first chunk
    assert acks.durable(first) == ["a"]

    third = acks.begin()
    acks.received("d")
    assert acks.durable(third) == []
    assert acks.durable(second) == ["b", "c", "d"]


def test_many_partitions_wait_for_no_more_than_some_bytes() -> None:
    subject = chunker(max_waiting_bytes=1_000)
    for tenant in ("a", "other"):
        add(subject, f"metrics/{tenant}/b/c", b"x" * 300)
    assert subject.due(5.0, 0) == []
    add(subject, "metrics/a/b/c", b"x" * 300)

    assert len(subject.due(5.0, 0)) == 2


def test_the_longest_topics_that_mqtt_has_are_neither_hashed_whole_nor_remembered() -> None:
    subject = chunker(max_messages=10**6, max_bytes=10**9, max_waiting=10**6, max_waiting_bytes=10**9)
    tracemalloc.start()
    try:
        for number in range(200):
            subject.add(f"metrics/{number}{'a' * 60_000}/b/c", b"{}")
        size_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size_bytes < 1_000_000
    assert len(tenant_level(f"metrics/{'a' * 60_000}/b/c")) == TENANT_LENGTH


def test_a_topic_has_its_partition_however_many_others_there_were() -> None:
    subject = chunker(max_messages=10**6, max_bytes=10**9, max_waiting=10**6)
    for number in [*range(3), *range(TOPICS_REMEMBERED + 10), *range(3)]:
        chunk = subject.add(f"metrics/tenant-{number % 8}/{number}/c", b"{}")
        assert chunk.partition == partition_of(f"tenant-{number % 8}", PARTITIONS)
