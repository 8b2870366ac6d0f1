"""What the table remembers: the latest acceptance of each id, within a window and a number, never less."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.models import Origin
from streams.wire.decision import FORMAT, Decision
from tables.state import LAST_INDEX, SeenState, Timeline

WINDOW_S = 100.0


def _id(number: int) -> bytes:
    return number.to_bytes(16)


def _content(number: int) -> bytes:
    return number.to_bytes(8)


def _decision(*pairs: tuple[int, int], at: float = 0.0, epoch: int = 1) -> Decision:
    fingerprints = b"".join(_id(id_) + _content(content) for id_, content in pairs)
    return Decision(FORMAT, epoch, at, b"8 bytes.", [], [], fingerprints)


def _state(max_ids: int = 1000) -> SeenState:
    return SeenState(window_s=WINDOW_S, max_ids=max_ids)


def test_an_id_is_known_by_the_content_it_was_accepted_with_last() -> None:
    state = _state()
    state.add(Origin(0, 1), _decision((7, 1)))
    state.add(Origin(0, 2), _decision((7, 2)))
    assert state.partition(0).seen(_id(7), horizon=0) == _content(2)


def test_an_id_accepted_before_the_window_is_unknown_even_before_it_is_evicted() -> None:
    state = _state()
    state.add(Origin(0, 1), _decision((7, 1), at=10))
    assert state.partition(0).seen(_id(7), horizon=10.5) is None


def test_partitions_do_not_share_their_ids() -> None:
    state = _state()
    state.add(Origin(0, 1), _decision((7, 1)))
    assert state.partition(1).seen(_id(7), horizon=0) is None


def test_removing_an_older_acceptance_keeps_the_newer_one() -> None:
    state = _state()
    state.add(Origin(0, 1), _decision((7, 1)))
    state.add(Origin(0, 2), _decision((7, 2)))
    state.remove(Origin(0, 1))
    assert state.partition(0).seen(_id(7), horizon=0) == _content(2)


def test_only_the_last_decision_is_kept_in_full() -> None:
    state = _state()
    first, second = _decision((1, 1)), _decision((2, 2))
    state.add(Origin(0, 1), first)
    assert state.partition(0).unsettled.get(1) == first
    state.add(Origin(0, 2), second)
    assert state.partition(0).unsettled.get(1) is None
    assert state.partition(0).unsettled.get(2) == second


def test_what_one_worker_has_emitted_is_settled_whatever_another_one_says() -> None:
    state = _state()
    first, second = _decision((1, 1)), _decision((2, 2))
    state.add(Origin(0, 1), first)
    state.add(Origin(0, 2), second)
    # By one that has taken over and does not know that the first has been emitted.
    state.add(Origin(0, 2), msgspec.structs.replace(second, unsettled=1))
    assert state.partition(0).settled_below == 2
    state.add(Origin(0, 1), first)
    assert list(state.partition(0).unsettled) == [2]

    state.remove(Origin(0, 2))
    assert state.partition(0).settled_below is None
    state.add(Origin(0, 1), first)
    assert list(state.partition(0).unsettled) == [1]


def test_a_decision_recorded_twice_counts_once() -> None:
    state = _state()
    state.add(Origin(0, 1), _decision((7, 1), (8, 1)))
    state.add(Origin(0, 1), _decision((7, 1)))
    assert state.ids == 1
    assert state.partition(0).seen(_id(8), horizon=0) is None


def test_the_last_decision_of_a_partition_is_never_evicted() -> None:
    state = _state(max_ids=1)
    state.add(Origin(0, 1), _decision((1, 1), (2, 2), at=0))
    assert state.evictable(0, now=10_000.0, limit=10) == []


def test_what_fell_out_of_the_window_is_evicted_oldest_first_and_in_portions() -> None:
    state = _state()
    for offset in range(5):
        state.add(Origin(0, offset), _decision((offset, 1), at=float(offset)))
    assert state.evictable(0, now=WINDOW_S + 1.5, limit=10) == [Origin(0, 0), Origin(0, 1)]
    assert state.evictable(0, now=WINDOW_S + 3, limit=2) == [Origin(0, 0), Origin(0, 1)]


def test_a_decision_without_ids_leaves_as_soon_as_it_is_not_the_last() -> None:
    state = _state()
    state.add(Origin(0, 1), _decision())
    state.add(Origin(0, 2), _decision((1, 1)))
    assert state.evictable(0, now=1.0, limit=10) == [Origin(0, 1)]


def test_above_the_limit_the_oldest_decision_of_any_partition_goes() -> None:
    state = _state(max_ids=3)
    state.add(Origin(1, 5), _decision((1, 1), at=5))
    state.add(Origin(0, 1), _decision((2, 1), at=6))
    state.add(Origin(1, 6), _decision((3, 1), at=7))
    state.add(Origin(0, 2), _decision((4, 1), at=8))
    assert state.evictable(0, now=9.0, limit=1) == [Origin(1, 5)]


def test_at_the_limit_nothing_goes_and_what_is_admitted_tells_what_must() -> None:
    state = _state(max_ids=4)
    assert state.admit(Origin(3, 1), _decision((1, 1), (2, 2), at=5), 10, 9) == []
    assert state.admit(Origin(3, 2), _decision((3, 3), (4, 4), at=6), 10, 9) == []
    assert state.admit(Origin(3, 3), _decision((5, 5), at=7), 10, 9) == [Origin(3, 1)]
    assert state.admit(Origin(3, 4), _decision((6, 6), at=7), 10 + WINDOW_S, 1) == [Origin(3, 1)]
    assert state.admit(Origin(3, 5), _decision((7, 7), at=7), 10 + WINDOW_S, 9) == [
        Origin(3, offset) for offset in range(1, 5)
    ]


def test_decisions_of_one_moment_go_in_the_order_of_their_partitions() -> None:
    state = _state(max_ids=1)
    for partition in (2, 0, 1):
        for offset in (1, 2):
            state.add(Origin(partition, offset), _decision((9 * partition + offset, 1), at=5))
    assert state.evictable(0, 5, 9) == [Origin(0, 1), Origin(1, 1), Origin(2, 1)]


def test_what_was_removed_is_not_waited_for() -> None:
    state = _state()
    for offset in (1, 2, 3):
        decision = msgspec.structs.replace(_decision((offset, 1)), unsettled=offset - 1)
        state.add(Origin(0, offset), decision)
    assert set(state.partition(0).unsettled) == {1, 2, 3}
    state.remove(Origin(0, 2))
    assert set(state.partition(0).unsettled) == {1, 3}


def test_partitions_of_other_workers_are_forgotten() -> None:
    state = _state()
    state.add(Origin(0, 1), _decision((1, 1)))
    state.add(Origin(1, 1), _decision((2, 1)))
    assert state.keep_only([1]) == {0}
    assert state.ids == 1
    assert state.partition(0).last_offset is None
    state.forget(7)  # of which nothing was remembered
    assert state.ids == 1


def test_a_row_that_tells_too_few_first_places_counts_all_the_same() -> None:
    state = _state()
    decision = msgspec.structs.replace(_decision((1, 1), (2, 2)), firsts=[(1, 5, 0)])
    state.add(Origin(0, 7), decision)
    accepted_at = state.partition(0).accepted_at([_id(1), _id(2)])
    assert accepted_at == {_id(1): (1, 5, 0), _id(2): (1, 7, LAST_INDEX)}


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=4, unique_by=lambda pair: pair[0])
changes = st.lists(st.tuples(st.integers(0, 6), st.none() | pairs), max_size=30)


@given(changes)
def test_the_index_says_what_the_decisions_that_are_held_say(
    steps: list[tuple[int, list[tuple[int, int]] | None]],
) -> None:
    state, held = _state(), dict[int, list[tuple[int, int]]]()
    for offset, accepted in steps:
        if accepted is None:  # as eviction does: the oldest that is held, the last one never
            oldest = min(held, default=offset)
            if len(held) > 1:
                state.remove(Origin(0, oldest))
                del held[oldest]
        else:
            state.add(Origin(0, offset), _decision(*accepted))
            held[offset] = accepted
    known = {id_: content for offset in sorted(held) for id_, content in held[offset]}
    partition = state.partition(0)
    assert state.ids == sum(map(len, held.values()))
    for id_, content in known.items():
        # What a decision that was recorded anew had overwritten may be unknown: that lets a duplicate pass.
        assert partition.seen(_id(id_), horizon=0) in (_content(content), None)
    assert not set(partition.index) - {_id(id_) for id_ in known}


SIX_HOURS_S = 6 * 3_600.0


def test_when_the_clock_goes_back_six_hours_eviction_goes_on() -> None:
    state, now = _state(), 1_795_442_400.0
    for offset in range(3):
        state.add(Origin(0, offset), _decision((offset, 1), at=now + offset))
    assert state.evictable(0, now=now + 2, limit=10) == []
    now -= SIX_HOURS_S
    assert state.evictable(0, now=now, limit=10) == []
    assert state.evictable(0, now=now + WINDOW_S - 1, limit=10) == [Origin(0, 0)]
    assert state.evictable(0, now=now + WINDOW_S, limit=10) == [Origin(0, 0), Origin(0, 1)]


def test_what_is_decided_after_the_clock_went_back_stays_for_the_window_and_then_leaves() -> None:
    state, now = _state(), 1_795_442_400.0
    state.evictable(0, now=now, limit=10)
    now -= SIX_HOURS_S
    state.evictable(0, now=now, limit=10)
    state.add(Origin(0, 1), _decision((1, 1), at=now))
    state.add(Origin(0, 2), _decision((2, 1), at=now + 1))
    horizon = state.timeline.at(now + 50) - WINDOW_S
    assert state.partition(0).known([_id(1), _id(2)], horizon) == {_id(1): _content(1), _id(2): _content(1)}
    assert state.evictable(0, now=now + 50, limit=10) == []
    assert state.evictable(0, now=now + WINDOW_S + 0.5, limit=10) == [Origin(0, 1)]


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1))
def test_the_timeline_never_goes_back_and_goes_on_with_the_clock(steps: list[int]) -> None:
    timeline, now, expected = Timeline(), 1_795_442_400.0, 1_795_442_400.0
    assert timeline.at(now) == now
    for step in steps:
        now += step
        expected += max(step, 0)
        assert timeline.at(now) == expected
        assert now + timeline.shift_s == expected


def test_a_partition_tells_whether_metrics_unique_has_what_was_put_there() -> None:
    partition = _state().partition(0)
    assert partition.emitted(4, 10)
    assert partition.emitted(5, 11)
    assert (partition.last_emitted, partition.unique_end, partition.unique_lost_from) == (5, 12, None)
    assert not partition.emitted(6, 3)
    assert not partition.emitted(7, 4)
    assert (partition.last_emitted, partition.unique_end, partition.unique_lost_from) == (5, 12, 3)


def test_a_chunk_that_is_emitted_again_moves_what_was_emitted_last_not_back() -> None:
    partition = _state().partition(0)
    partition.emitted(9, 10)
    assert partition.emitted(4, 11)
    assert partition.last_emitted == 9


def test_the_last_decision_tells_epoch_term_and_what_was_emitted_and_its_end_leaves_the_epoch() -> None:
    state = _state()
    told = msgspec.structs.replace(_decision((1, 1), epoch=4), last_emitted=5, term=7)
    state.add(Origin(0, 8), told)
    state.add(Origin(0, 6), _decision((2, 1), epoch=9))
    partition = state.partition(0)
    assert (partition.epoch, partition.last_emitted, partition.term) == (4, 5, 7)
    state.remove(Origin(0, 8))
    assert (partition.epoch, partition.last_emitted, partition.term) == (4, -1, 0)
