"""The cursor: whatever the consumer delivers, and in whatever order, effects stand once and in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.positions import MOST_WRITERS, Admission, Anchor, Cursor, Position

END = 12


def test_a_held_partition_hands_nothing_on() -> None:
    cursor = Cursor()
    assert cursor.fetched(0) is Admission.PASS_OVER
    assert cursor.offered(0) is Admission.PASS_OVER


def test_a_record_ahead_of_the_cursor_asks_for_a_rewind() -> None:
    cursor = Cursor()
    cursor.place(Position(5))
    assert cursor.fetched(6) is Admission.REWIND
    assert cursor.offered(6) is Admission.REWIND
    assert cursor.next_fetch == 5


def test_a_record_behind_the_cursor_is_passed_over() -> None:
    cursor = Cursor()
    cursor.place(Position(5))
    assert cursor.fetched(4) is Admission.PASS_OVER
    assert cursor.offered(4) is Admission.PASS_OVER


def test_an_agent_that_finishes_after_a_reposition_does_not_move_the_new_position() -> None:
    cursor = Cursor()
    cursor.place(Position(5))
    cursor.place(Position(2))
    cursor.done(5)
    assert cursor.expected == 2


def test_nothing_is_committed_while_the_position_is_unknown() -> None:
    """The topic may have been made anew: then the old offset would be taken for one of the new log."""
    cursor = Cursor()
    cursor.place(Position(5))
    cursor.done(5)
    cursor.hold()
    assert cursor.committable is None
    cursor.done(6)
    assert cursor.committable is None
    cursor.place(Position(0))
    assert cursor.committable == 0


def test_what_was_handed_on_and_never_arrived_is_noticed() -> None:
    cursor = Cursor()
    cursor.place(Position(0))
    cursor.fetched(0)
    assert cursor.starved
    cursor.busy = True
    assert not cursor.starved


ANCHOR = Anchor(4, b"8 bytes.")


def link(writer: str, seq: int) -> dict[str, bytes]:
    return {"writer": writer.encode(), "seq": b"%d" % seq}


def placed(offset: int, *finished: dict[str, bytes]) -> Cursor:
    """Return a cursor behind records that were finished."""
    cursor = Cursor()
    cursor.place(Position(offset))
    cursor.passed(ANCHOR, finished)
    return cursor


def test_a_record_that_continues_its_writers_chain_follows() -> None:
    cursor = placed(5, link("a", 7), link("b", 0))
    assert cursor.follows([link("a", 8)])
    assert cursor.follows([link("b", 1), link("a", 8), link("b", 2)])


@pytest.mark.parametrize(
    "ahead",
    [
        [link("a", 9)],
        [link("a", 7)],
        [link("a", 6)],
        [link("a", 8), link("a", 10)],
        [link("unknown", 3)],
        [link("a", 8), link("unknown", 3)],
    ],
)
def test_a_gap_a_repetition_or_an_unknown_writer_in_mid_course_is_to_be_confirmed(
    ahead: list[dict[str, bytes]],
) -> None:
    assert not placed(5, link("a", 7)).follows(ahead)


def test_a_writers_first_record_follows_at_the_start_of_a_log_alone() -> None:
    """Behind that, a log that was made anew begins just so: with writers that nobody has heard of."""
    assert placed(0).follows([link("new", 0), link("new", 1)])
    assert not placed(5, link("a", 7)).follows([link("new", 0)])


@pytest.mark.parametrize(
    "headers", [{}, {"writer": b"a"}, {"seq": b"9"}, {"writer": b"a", "seq": b"soon"}, {"writer": b""}]
)
def test_a_record_of_an_older_version_which_has_no_number_is_believed(headers: dict[str, bytes]) -> None:
    cursor = placed(5, link("a", 7))
    assert cursor.follows([headers])
    cursor.passed(ANCHOR, [headers])
    assert cursor.writers == {b"a": 7}


def test_to_ask_whether_records_follow_changes_nothing() -> None:
    cursor = placed(5, link("a", 7))
    assert cursor.follows([link("a", 8)])
    assert cursor.follows([link("a", 8)])
    assert cursor.writers == {b"a": 7}


def test_what_was_finished_is_the_new_anchor_and_moves_its_writers_on() -> None:
    cursor = placed(5, link("a", 7))
    cursor.passed(Anchor(6, b"another."), [link("a", 8), link("b", 0)])
    assert cursor.anchor == Anchor(6, b"another.")
    assert cursor.writers == {b"a": 8, b"b": 0}


def test_a_placed_cursor_has_the_anchor_of_its_position_and_knows_no_writer() -> None:
    cursor = placed(5, link("a", 7))
    cursor.place(Position(9, Anchor(8, b"at eight")))
    assert (cursor.anchor, cursor.writers, cursor.expected) == (Anchor(8, b"at eight"), {}, 9)


def test_to_go_on_elsewhere_in_the_same_log_keeps_what_is_known_of_it() -> None:
    cursor = placed(5, link("a", 7))
    cursor.rewind(3)
    assert (cursor.anchor, cursor.writers, cursor.expected) == (ANCHOR, {b"a": 7}, 3)


def test_of_many_writers_those_that_were_heard_of_first_are_forgotten_first() -> None:
    cursor = placed(5, *(link(str(number), 0) for number in range(MOST_WRITERS + 3)))
    assert len(cursor.writers) == MOST_WRITERS
    assert list(cursor.writers)[:1] == [b"3"]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.data())
def test_a_log_as_its_writers_wrote_it_follows_and_one_that_lacks_a_record_in_between_does_not(
    written_by: list[int], data: st.DataObject
) -> None:
    log, counts = list[dict[str, bytes]](), [0, 0, 0]
    for writer in written_by:
        log.append(link(f"writer {writer}", counts[writer]))
        counts[writer] += 1
    finished = data.draw(st.integers(0, len(log)))
    cursor = placed(0)
    assert cursor.follows(log)
    cursor.passed(ANCHOR, log[:finished])
    assert cursor.follows(log[finished:])
    lost = data.draw(st.integers(0, len(log) - 1))
    has_successor = written_by[lost] in written_by[lost + 1 :]
    assert placed(0).follows([*log[:lost], *log[lost + 1 :]]) is not has_successor


class Delivery:
    """A log of `END` records, a consumer that may lose or repeat what it hands on, and an agent."""

    def __init__(self) -> None:
        self.cursor = Cursor()
        self.cursor.place(Position(0))
        self.effects: list[int] = []
        self.fetch_from = 0

    def start_at(self, offset: int) -> None:
        self.cursor.place(Position(offset))
        self.fetch_from = offset

    def offer(self, offset: int) -> None:
        admission = self.cursor.offered(offset)
        if admission is Admission.TAKE:
            self.effects.append(offset)
            self.cursor.done(offset)
        elif admission is Admission.REWIND:
            self.start_at(len(self.effects))

    def fetch(self, *, lose: bool) -> None:
        offset = self.fetch_from
        if offset == END:
            return
        self.fetch_from += 1
        admission = self.cursor.fetched(offset)
        if admission is Admission.TAKE and not lose:
            self.offer(offset)
        elif admission is Admission.REWIND and self.cursor.next_fetch is not None:
            self.fetch_from = self.cursor.next_fetch

    def play(self, step: str, offset: int) -> None:
        if step == "stale":
            self.offer(offset)
        elif step == "reposition":
            self.start_at(len(self.effects))
        else:
            self.fetch(lose=step == "lose")


steps = st.tuples(st.sampled_from(["lose", "deliver", "stale", "reposition"]), st.integers(0, END - 1))


@given(st.lists(steps))
def test_whatever_is_lost_or_stale_every_record_takes_effect_once_and_in_order(
    played: list[tuple[str, int]],
) -> None:
    delivery = Delivery()
    for step, offset in played:
        delivery.play(step, offset)
        assert delivery.effects == list(range(len(delivery.effects)))
    while len(delivery.effects) < END:
        if delivery.cursor.starved:  # the consumer's own check reads again what never arrived
            delivery.start_at(len(delivery.effects))
        delivery.fetch(lose=False)
    assert delivery.effects == list(range(END))
