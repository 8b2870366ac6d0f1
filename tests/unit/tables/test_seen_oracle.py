"""The packed memory of refine answers as plain dicts do, whatever arrives and leaves in whatever order."""

import random
from array import array
from hashlib import blake2b

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.models import Origin
from streams.wire.decision import FORMAT, Decision
from tables.decisions import BLOCK, Decisions
from tables.fingerprints import Fingerprints
from tables.state import PartitionState, SeenState
from tests.unit.tables.plain_seen import PlainPartition, PlainSeen

WINDOW_S = 10.0
MAX_IDS = 60

# Ids as they are, and ids whose zeros are found across the fields of an entry too.
IDS = [blake2b(b"%d" % n, digest_size=16).digest() for n in range(120)] + [n.to_bytes(16) for n in range(40)]

partitions = st.integers(0, 1)
offsets = st.integers(0, 12) | st.sampled_from([510, 511, 512, 513, 2**40, 2**47 - 1])
origins = st.builds(Origin, partitions, offsets)
contents = st.integers(0, 3).map(lambda number: number.to_bytes(8))
fingerprints = st.lists(st.tuples(st.sampled_from(IDS), contents), max_size=40)
times = st.integers(0, 30).map(float)


class Memories(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = SeenState(window_s=WINDOW_S, max_ids=MAX_IDS)
        self.plain = PlainSeen(window_s=WINDOW_S, max_ids=MAX_IDS)
        self.accepted: dict[Origin, dict[bytes, bytes]] = {}

    @rule(origin=origins, pairs=fingerprints, at=times, unsettled=st.just(0) | st.integers(0, 9))
    def add(self, origin: Origin, pairs: list[tuple[bytes, bytes]], at: float, unsettled: int) -> None:
        packed = b"".join(id_ + content for id_, content in pairs)
        decision = Decision(FORMAT, 1, at, b"8 bytes.", [], [], packed, unsettled)
        self.seen.add(origin, decision)
        self.plain.add(origin, decision)
        self.accepted[origin] = dict(pairs)

    @rule(origin=origins)
    def remove(self, origin: Origin) -> None:
        self.seen.remove(origin)
        self.plain.remove(origin)
        self.accepted.pop(origin, None)

    @rule(partition=partitions, now=times, limit=st.integers(1, 4))
    def evict(self, partition: int, now: float, limit: int) -> None:
        evictable = self.seen.evictable(partition, now, limit)
        assert evictable == self.plain.evictable(partition, now, limit)
        for origin in evictable:
            self.remove(origin)

    @rule(partition=partitions)
    def forget(self, partition: int) -> None:
        self.seen.forget(partition)
        self.plain.forget(partition)
        self._keep({0, 1} - {partition})

    @rule(kept=st.sets(partitions))
    def keep_only(self, kept: set[int]) -> None:
        assert self.seen.keep_only(kept) == self.plain.keep_only(kept)
        self._keep(kept)

    @invariant()
    def answer_alike(self) -> None:
        assert self.seen.ids == self.plain.ids
        for number in (0, 1):
            self._compare(self.seen.partition(number), self.plain.partition(number))

    @invariant()
    def never_answer_with_another_content_than_the_latest(self) -> None:
        """Hold the contract itself, which the plain memory could break in the same way."""
        for number in (0, 1):
            latest: dict[bytes, bytes] = {}
            for origin in sorted(self.accepted):
                if origin.partition == number:
                    latest |= self.accepted[origin]
            assert self.seen.partition(number).known(IDS, 0.0).items() <= latest.items()

    def _keep(self, kept: set[int]) -> None:
        self.accepted = {origin: pairs for origin, pairs in self.accepted.items() if origin.partition in kept}

    def _compare(self, packed: PartitionState, plain: PlainPartition) -> None:
        assert packed.ids == plain.ids
        assert packed.last_offset == plain.last_offset
        assert packed.settled_below == plain.settled_below
        assert packed.unsettled == plain.unsettled
        assert list(packed.offsets()) == sorted(plain.offsets())
        for offset in plain.offsets():
            assert packed.unsettled.get(offset) == plain.unsettled.get(offset)
        assert len(packed.index) == len(plain.index)
        assert set(packed.index) == set(plain.index)
        for horizon in (0.0, 10.0, 20.5):
            assert packed.known(IDS, horizon) == plain.known(IDS, horizon)


TestMemories = Memories.TestCase
TestMemories.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)


@pytest.mark.parametrize("ids_a_chunk", [1, 20, 200])
def test_a_memory_that_grows_and_shrinks_by_thousands_answers_as_a_plain_one(ids_a_chunk: int) -> None:
    chance = random.Random(ids_a_chunk)  # noqa: S311 - a seed is what makes this repeat itself
    pool = [chance.randbytes(16) for _ in range(6_000)]
    packed, plain = PartitionState(), PlainPartition()
    for offset in range(4_000 // ids_a_chunk):
        content = chance.randbytes(8)
        decision = Decision(
            FORMAT,
            1,
            0.0,
            b"8 bytes.",
            [],
            [],
            b"".join(id_ + content for id_ in chance.sample(pool, ids_a_chunk)),
        )
        packed.add(offset, decision)
        plain.add(offset, decision)
    assert packed.known(pool, 0.0) == plain.known(pool, 0.0)
    offsets = sorted(plain.offsets())
    chance.shuffle(offsets)
    for count, offset in enumerate(offsets):
        packed.remove(offset)
        plain.remove(offset)
        if count in (len(offsets) // 2, len(offsets) - 2):
            assert packed.known(pool, 0.0) == plain.known(pool, 0.0)
    assert list(packed.index) == list(packed.offsets()) == []


def test_an_index_that_is_emptied_gives_its_memory_back() -> None:
    index = Fingerprints()
    places = [index.add(random.Random(offset).randbytes(24 * 200), offset) for offset in range(50)]  # noqa: S311
    grown = index.buckets
    for offset, of_decision in enumerate(places):
        index.remove(of_decision, offset)
    assert grown > 1_000
    assert index.buckets == 1


def test_an_offset_that_no_log_has_is_refused_and_changes_nothing() -> None:
    state = PartitionState()
    with pytest.raises(OverflowError):
        state.add(2**47, Decision(FORMAT, 1, 0.0, b"8 bytes.", [], [], IDS[0] + bytes(8)))
    assert (state.last_offset, state.ids, list(state.offsets()), list(state.index)) == (None, 0, [], [])


def _decision(*pairs: tuple[bytes, bytes]) -> Decision:
    return Decision(FORMAT, 1, 0.0, b"8 bytes.", [], [], b"".join(id_ + content for id_, content in pairs))


OLD, NEW = b"old cont", b"new cont"


@pytest.mark.parametrize("memory", [PartitionState, PlainPartition])
def test_an_older_content_that_arrives_late_does_not_count_once_the_latest_was_replaced(
    memory: type[PartitionState | PlainPartition],
) -> None:
    state = memory()
    for offset, decision in [(1, _decision((IDS[0], NEW))), (2, _decision((IDS[0], NEW))), (2, _decision())]:
        state.add(offset, decision)
    state.add(0, _decision((IDS[0], OLD)))
    assert state.seen(IDS[0], 0.0) is None


@pytest.mark.parametrize("memory", [PartitionState, PlainPartition])
def test_after_decisions_beyond_the_end_were_removed_those_that_follow_are_known(
    memory: type[PartitionState | PlainPartition],
) -> None:
    state = memory()
    state.add(1, _decision((IDS[0], OLD)))
    state.add(1_000_000, _decision((IDS[1], OLD)))
    state.remove(1_000_000)
    state.add(2, _decision((IDS[2], NEW)))
    assert state.known(IDS[:3], 0.0) == {IDS[0]: OLD, IDS[2]: NEW}


@pytest.mark.parametrize(
    ("low", "high", "held"),
    [
        (0, 2000, True),
        (5, 2000, True),
        (1024, 2000, False),
        (5, 1024, False),
        (5, 1025, True),
        (-1, 5, False),
        (-1, 6, True),
        (4, 6, True),
        (5, 6, False),
        (1023, 1025, True),
        (3000, 9000, False),
    ],
)
def test_decisions_between_two_offsets_are_found(low: int, high: int, held: bool) -> None:  # noqa: FBT001
    decisions = Decisions()
    for offset in (5, 1024):
        decisions.put(offset, 0.0, array("I", [1]))
    assert decisions.any_between(low, high) is held


def test_decisions_at_the_edges_of_blocks_are_found() -> None:
    decisions = Decisions()
    for offset in (BLOCK - 1, 2 * BLOCK):
        decisions.put(offset, 0.0, array("I", [1]))
    assert decisions.any_between(BLOCK - 2, BLOCK)
    assert not decisions.any_between(BLOCK - 1, 2 * BLOCK)
    assert decisions.any_between(2 * BLOCK - 1, 2 * BLOCK + 1)
