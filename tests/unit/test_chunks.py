import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from streams.chunks import Chunk, Chunker, InOrderAcks, partition_of, tenant_level
from streams.wire.raw import decode, encode_message

PARTITIONS, MAX_MESSAGES, MAX_BYTES, LINGER_S = 4, 5, 1_024, 0.01
AT = "2026-11-23T14:00:00.123456Z"

tenants = st.sampled_from([f"tenant-{number}" for number in range(8)])
arrivals = st.lists(st.tuples(tenants, st.binary(max_size=700), st.floats(0, 0.02)), max_size=60)


def chunker(**different: float) -> Chunker[int]:
    options = {"linger_s": LINGER_S, "max_messages": MAX_MESSAGES, "max_bytes": MAX_BYTES} | different
    return Chunker(partitions=PARTITIONS, **options)  # type: ignore[arg-type]  # the counts are whole numbers


def feed(subject: Chunker[int], messages: list[tuple[str, bytes, float]]) -> list[Chunk[int]]:
    """Add each message after its delay, taking what is due each time, and the rest at the end."""
    now, cut = 0.0, []
    for number, (tenant, payload, delay_s) in enumerate(messages):
        now += delay_s
        cut += subject.due(now)
        topic = f"metrics/{tenant}/edge-1/cpu"
        subject.add(topic, encode_message(topic, payload, AT, 1), number, now)
    return cut + subject.rest()


@given(arrivals)
def test_every_message_comes_out_exactly_once(messages: list[tuple[str, bytes, float]]) -> None:
    numbers = [number for chunk in feed(chunker(), messages) for number in chunk.tokens]

    assert sorted(numbers) == list(range(len(messages)))


@given(arrivals)
def test_a_partition_keeps_its_order(messages: list[tuple[str, bytes, float]]) -> None:
    chunks = feed(chunker(), messages)

    for partition in range(PARTITIONS):
        numbers = [number for chunk in chunks if chunk.partition == partition for number in chunk.tokens]
        assert numbers == sorted(numbers)


@given(arrivals)
def test_a_message_is_in_its_tenants_partition_as_it_came(messages: list[tuple[str, bytes, float]]) -> None:
    for chunk in feed(chunker(), messages):
        for number, message in zip(chunk.tokens, decode(chunk.value()), strict=True):
            tenant, payload, _ = messages[number]
            assert message.topic == f"metrics/{tenant}/edge-1/cpu"
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
    for number, (tenant, payload, delay_s) in enumerate(messages):
        while (due_at := subject.next_due()) is not None and due_at <= now + delay_s:
            for chunk in subject.due(due_at):
                for token in chunk.tokens:
                    assert due_at - waiting.pop(token) <= LINGER_S + 1e-9
        now += delay_s
        waiting[number] = now
        topic = f"metrics/{tenant}/edge-1/cpu"
        subject.add(topic, encode_message(topic, payload, AT, 1), number, now)


def test_a_young_chunk_is_not_cut() -> None:
    subject = chunker()
    subject.add("metrics/a/b/c", b"{}", 1, now=5.0)

    assert subject.due(5.0 + LINGER_S / 2) == []
    assert subject.next_due() == 5.0 + LINGER_S


def test_nothing_is_due_where_nothing_waits() -> None:
    subject = chunker()

    assert subject.next_due() is None
    assert subject.due(1_000.0) == []
    assert subject.rest() == []


def test_a_full_chunk_is_due_at_once() -> None:
    subject = chunker(max_messages=2)
    for number in range(3):
        subject.add("metrics/a/b/c", b"{}", number, now=0.0)

    assert [chunk.tokens for chunk in subject.due(0.0)] == [[0, 1]]
    assert [chunk.tokens for chunk in subject.rest()] == [[2]]


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


@given(st.data(), st.integers(0, 40))
def test_acknowledgements_come_in_order_complete_and_never_before_durability(
    data: st.DataObject, count: int
) -> None:
    acks: InOrderAcks[int] = InOrderAcks()
    tickets = [acks.received(number) for number in range(count)]
    durable, released = set[int](), list[int]()
    for number in data.draw(st.permutations(range(count))):
        durable.add(number)
        released += acks.durable([tickets[number]])
        assert durable.issuperset(released)
        assert released == list(range(len(released)))

    assert released == list(range(count))
    assert len(acks) == 0


def test_one_that_is_not_durable_holds_back_those_behind_it() -> None:
    acks: InOrderAcks[str] = InOrderAcks()
    first, second, third = (acks.received(token) for token in "abc")

    assert acks.durable([second, third]) == []
    assert acks.durable([first]) == ["a", "b", "c"]
