"""The queue before Kafka: any chunks, taken in any order by partitions of any speed."""

from collections import deque
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streams.ingress.chunking import Chunk
from streams.ingress.pubacks import Ticket
from streams.ingress.write_queue import UnderWay, WriteQueue

KIB = 1024
UNDER_WAY, WAITING = 10 * KIB, 30 * KIB


def chunk(partition: int, number: int, size_bytes: int = KIB) -> Chunk[Ticket]:
    return Chunk(partition, Ticket(number), [b"one"], size_bytes)


def queue_of(*full: int) -> WriteQueue:
    """Return a queue before a writer that has no room for some partitions."""
    return WriteQueue(lambda partition, _: partition not in full, UNDER_WAY, WAITING)


def written(queue: WriteQueue) -> list[tuple[int, int]]:
    """Write all that may leave; return partition and number of each."""
    left = []
    while (one := queue.next()) is not None:
        queue.left(one)
        left.append((one.partition, one.ticket.before))
    return left


def test_a_partition_that_is_full_holds_up_no_other() -> None:
    queue = queue_of()
    queue.add(chunk(1, number, 9 * KIB) for number in range(3))
    queue.add([chunk(2, 3)])

    assert written(queue) == [(1, 0), (2, 3)]
    assert queue


def test_partitions_take_turns() -> None:
    queue = queue_of()
    queue.add([chunk(1, 0), chunk(1, 1), chunk(1, 2), chunk(2, 3)])

    assert written(queue) == [(1, 0), (2, 3), (1, 1), (1, 2)]
    assert not queue


def test_what_waited_for_room_leaves_when_there_is_some() -> None:
    queue = queue_of()
    queue.add([chunk(1, 0, 9 * KIB), chunk(1, 1, 2 * KIB)])
    first = queue.left(queue.next() or chunk(0, 0))
    assert queue.next() is None

    assert queue.settled(first) is True
    assert written(queue) == [(1, 1)]


def test_a_partition_for_which_the_writer_has_no_room_waits_until_nothing_is_under_way() -> None:
    queue = queue_of(1)
    queue.add([chunk(1, 0), chunk(1, 1), chunk(2, 2), chunk(2, 3)])

    assert written(queue) == [(1, 0), (2, 2), (2, 3)]


def test_one_that_is_larger_than_may_be_under_way_goes_alone() -> None:
    queue = queue_of()
    queue.add([chunk(1, 0, 50 * KIB), chunk(1, 1)])

    assert written(queue) == [(1, 0)]


def test_it_is_full_at_its_bytes_and_empty_when_it_was_cleared() -> None:
    queue = queue_of()
    queue.add(chunk(1, number, 10 * KIB) for number in range(3))
    assert queue.is_full

    assert [one.ticket.before for one in queue.clear()] == [0, 1, 2]
    assert not queue
    assert not queue.is_full
    assert queue.next() is None


class Add(NamedTuple):
    """A chunk is cut."""

    partition: int
    size_bytes: int


class Settle(NamedTuple):
    """Kafka answers for one of those under way, counted round."""

    number: int


acts = st.lists(
    st.builds(Add, st.integers(0, 3), st.integers(1, 15).map(KIB.__mul__))
    | st.builds(Settle, st.integers(0, 9)),
    max_size=60,
)


@given(acts)
def test_each_partition_keeps_its_order_and_its_bounds_and_nothing_is_left_behind(
    history: list[Add | Settle],
) -> None:
    queue = queue_of()
    cut: dict[int, list[int]] = {partition: [] for partition in range(4)}
    left: dict[int, list[int]] = {partition: [] for partition in range(4)}
    under_way: deque[UnderWay] = deque()

    def write() -> None:
        while (one := queue.next()) is not None:
            under_way.append(queue.left(one))
            left[one.partition].append(one.ticket.before)
            bytes_of = [each.size_bytes for each in under_way if each.partition == one.partition]
            assert sum(bytes_of) <= UNDER_WAY or len(bytes_of) == 1
            assert queue.messages_under_way == len(under_way)

    def settle(number: int) -> None:
        under_way.rotate(-number)
        queue.settled(under_way.popleft())
        write()

    for number, act in enumerate(history):
        if isinstance(act, Add):
            cut[act.partition].append(number)
            queue.add([chunk(act.partition, number, act.size_bytes)])
            write()
        elif under_way:
            settle(act.number)
    while under_way:
        settle(0)

    assert left == cut
    assert not queue
    assert queue.messages_under_way == 0
