"""Progress: what stands while it is behind is noticed, and has to have no excuse to be given up."""

from streams.kafka.stall_detector import Observation, StallDetector

LIMIT_S = 300.0
STEP_S = 10.0


def _look(mark: int = 7, *, behind: bool = True, excuse: str = "", outages: int = 0) -> Observation:
    return Observation(mark, behind, "stands", excuse, outages)


class Played:
    """Looks every ten seconds at one thing."""

    def __init__(self) -> None:
        self.progress = StallDetector(longest_step_s=2 * STEP_S)
        self.now = 0.0

    def look(self, look: Observation, seconds: float = 0.0) -> None:
        until = self.now + seconds
        self.progress.look({"it": look}, self.now)
        while self.now < until:
            self.now += STEP_S
            self.progress.look({"it": look}, self.now)

    @property
    def stands(self) -> bool:
        return bool(self.progress.standing(30.0))

    @property
    def is_hopeless(self) -> bool:
        return bool(self.progress.hopeless(LIMIT_S))


def test_what_is_behind_and_does_not_move_is_noticed_and_given_up_after_the_limit() -> None:
    played = Played()
    played.look(_look(), 40)
    assert played.stands
    assert not played.is_hopeless
    played.look(_look(), 300)
    assert played.is_hopeless


def test_what_has_nothing_to_do_may_stand_for_ever() -> None:
    played = Played()
    played.look(_look(behind=False), 1_000)
    assert not played.stands
    played.look(_look(), 20)
    assert not played.stands, "it counts from when there was something to do"


def test_what_moves_is_well_however_far_it_is_behind() -> None:
    played = Played()
    for mark in range(100):
        played.look(_look(mark), 20)
    assert not played.stands


def test_an_excuse_saves_from_the_end_but_readiness_still_sees_it_stand() -> None:
    played = Played()
    played.look(_look(excuse="redis is away"), 1_000)
    assert played.stands
    assert not played.is_hopeless


def test_after_the_excuse_is_gone_the_limit_counts_anew() -> None:
    played = Played()
    played.look(_look(excuse="redis is away"), 1_000)
    played.look(_look(), 290)
    assert not played.is_hopeless
    played.look(_look(), 30)
    assert played.is_hopeless


def test_an_outage_met_between_two_looks_is_an_excuse() -> None:
    played = Played()
    for outages in range(100):
        played.look(_look(outages=outages), STEP_S)
    assert not played.is_hopeless


def test_a_retry_that_hangs_after_an_outage_is_given_up() -> None:
    played = Played()
    played.look(_look(outages=3), 320)
    assert played.is_hopeless


def test_what_this_worker_does_not_hold_any_more_is_forgotten() -> None:
    played = Played()
    played.look(_look(), 290)
    played.progress.look({}, played.now)
    played.look(_look(), 30)
    assert not played.stands


def test_a_process_that_was_stopped_and_goes_on_is_not_given_up() -> None:
    played = Played()
    played.look(_look(), 20)
    played.now += 10 * LIMIT_S
    played.look(_look(), 0)
    assert not played.is_hopeless
    assert next(iter(played.progress.standing(0.0).values())).still_s == 40.0
