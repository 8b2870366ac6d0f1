"""The cursor: whatever the consumer delivers, and in whatever order, effects stand once and in order."""

from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.positions import Admission, Cursor

END = 12


def test_a_held_partition_hands_nothing_on() -> None:
    cursor = Cursor()
    assert cursor.fetched(0) is Admission.PASS_OVER
    assert cursor.offered(0) is Admission.PASS_OVER


def test_a_record_ahead_of_the_cursor_asks_for_a_rewind() -> None:
    cursor = Cursor()
    cursor.place(5)
    assert cursor.fetched(6) is Admission.REWIND
    assert cursor.offered(6) is Admission.REWIND
    assert cursor.next_fetch == 5


def test_a_record_behind_the_cursor_is_passed_over() -> None:
    cursor = Cursor()
    cursor.place(5)
    assert cursor.fetched(4) is Admission.PASS_OVER
    assert cursor.offered(4) is Admission.PASS_OVER


def test_an_agent_that_finishes_after_a_reposition_does_not_move_the_new_position() -> None:
    cursor = Cursor()
    cursor.place(5)
    cursor.place(2)
    cursor.done(5)
    assert cursor.expected == 2


def test_a_position_that_a_record_has_to_confirm_is_committed_only_when_that_is_done() -> None:
    cursor = Cursor()
    cursor.place(5, proven=False)
    assert cursor.committable is None
    cursor.done(5)
    assert cursor.committable == 6
    cursor.place(9)
    assert cursor.committable == 9


def test_nothing_is_committed_while_the_position_is_unknown() -> None:
    """The topic may have been made anew: then the old offset would be taken for one of the new log."""
    cursor = Cursor()
    cursor.place(5)
    cursor.done(5)
    cursor.hold()
    assert cursor.committable is None
    cursor.done(6)
    assert cursor.committable is None
    cursor.place(0, proven=False)
    assert cursor.committable is None


def test_what_was_handed_on_and_never_arrived_is_noticed() -> None:
    cursor = Cursor()
    cursor.place(0)
    cursor.fetched(0)
    assert cursor.starved
    cursor.busy = True
    assert not cursor.starved


class Delivery:
    """A log of `END` records, a consumer that may lose or repeat what it hands on, and an agent."""

    def __init__(self) -> None:
        self.cursor = Cursor()
        self.cursor.place(0)
        self.effects: list[int] = []
        self.fetch_from = 0

    def start_at(self, offset: int) -> None:
        self.cursor.place(offset)
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
