"""Who holds jobs and is dead: told by what is seen look after look."""

import pytest

from streams.ingest.holder_watch import SILENT_LOOKS, HolderWatch
from streams.laravel.marks import Mark

A, B = b"a" * 32, b"b" * 32


def mark(holder: bytes, taken_at: float = 1.0) -> Mark:
    return Mark(b"%b %f" % (holder, taken_at), holder, taken_at)


def look(watch: HolderWatch, *found: tuple[Mark, float], times: int = 1) -> None:
    for _ in range(times):
        watch.look(dict(found))


def test_nobody_is_suspected_where_nobody_holds_anything() -> None:
    watch = HolderWatch()
    look(watch)
    assert not watch.suspects


def test_who_does_nothing_for_long_enough_is_dead_and_not_before() -> None:
    watch = HolderWatch()
    look(watch, (mark(A), 3), times=SILENT_LOOKS)
    assert watch.suspects
    assert not watch.is_dead(mark(A))
    look(watch, (mark(A), 3))
    assert not watch.suspects
    assert watch.is_dead(mark(A))


@pytest.mark.parametrize("later", [(mark(A), 4), (mark(A, 2.0), 0)], ids=["a beat", "another mark"])
def test_who_does_something_lives_whatever_it_does_then(later: tuple[Mark, float]) -> None:
    watch = HolderWatch()
    look(watch, (mark(A), 3), (mark(B), 3))
    look(watch, later, (mark(B), 3), times=2 * SILENT_LOOKS)
    assert not watch.suspects
    assert not watch.is_dead(later[0])
    assert watch.is_dead(mark(B))


def test_who_has_settled_all_is_dead_no_more() -> None:
    watch = HolderWatch()
    look(watch, (mark(A), 3), times=SILENT_LOOKS + 1)
    look(watch)
    assert not watch.is_dead(mark(A))


@pytest.mark.parametrize(
    "earlier", [(mark(A, 5.0), 2), (mark(A, 4.0), 9)], ids=["fewer beats", "an earlier mark"]
)
@pytest.mark.parametrize("gone", [False, True], ids=["at once", "after it was gone"])
def test_who_was_further_before_is_looked_at_anew(earlier: tuple[Mark, float], *, gone: bool) -> None:
    """Redis has come back from an older copy, in which a dead one held what it had settled since."""
    watch = HolderWatch()
    look(watch, (mark(A, 5.0), 2))
    look(watch, (mark(A, 5.0), 3))
    assert not watch.suspects
    if gone:
        look(watch)
    look(watch, earlier, times=SILENT_LOOKS)
    assert watch.suspects
    look(watch, earlier)
    assert watch.is_dead(earlier[0])


def test_who_is_back_as_it_was_before_it_was_gone_is_looked_at_anew() -> None:
    watch = HolderWatch()
    look(watch, (mark(A), 3))
    look(watch, (mark(A), 4))
    look(watch)
    look(watch, (mark(A), 4), times=SILENT_LOOKS + 1)
    assert watch.is_dead(mark(A))


def test_who_comes_late_is_looked_at_as_long() -> None:
    watch = HolderWatch()
    look(watch, (mark(A), 1), times=SILENT_LOOKS - 1)
    look(watch, (mark(A), 1), (mark(B), 1), times=2)
    assert watch.is_dead(mark(A))
    assert watch.suspects == 1


def test_who_comes_and_goes_keeps_nobody_waiting_for_ever() -> None:
    watch = HolderWatch()
    for number in range(2 * SILENT_LOOKS + 1):
        look(watch, (mark(b"%032x" % number), 1))
    assert not watch.suspects
