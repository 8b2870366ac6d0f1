"""Another worker lives as long as what it tells changes, whatever its clock says."""

from streams.dashboard.peers import FORGET_S, FRESH_S, MOST, Peers
from streams.dashboard.summary import WorkerSummary, encode


def told(received: float = 0.0, started_at: float = 0.0) -> bytes:
    return encode(WorkerSummary("other-1", rates={"received": received}, started_at=started_at))


def test_what_changes_is_fresh_and_what_does_not_grows_old() -> None:
    peers = Peers()
    peers.hear({"other-1": told(1)}, 10.0)
    peers.hear({"other-1": told(2)}, 11.0)
    peers.hear({"other-1": told(2)}, 17.0)
    (peer,) = peers.all(17.0)
    assert peer.silent_s == 6.0 > FRESH_S
    assert peer.summary.rates == {"received": 2}


def test_a_clock_that_is_an_hour_off_makes_no_worker_silent() -> None:
    peers = Peers()
    for second in range(5):
        peers.hear({"other-1": told(second, started_at=-3_600.0)}, float(second))
    assert peers.all(4.0)[0].silent_s == 0.0


def test_who_is_silent_for_long_is_gone() -> None:
    peers = Peers()
    peers.hear({"other-1": told()}, 0.0)
    assert not peers.gone(FORGET_S - 1)
    assert peers.all(FORGET_S) == []
    assert peers.gone(FORGET_S) == ["other-1"]


def test_who_has_left_is_not_there_any_more() -> None:
    peers = Peers()
    peers.hear({"other-1": told()}, 0.0)
    peers.hear({}, 1.0)
    assert peers.all(1.0) == []


def test_what_cannot_be_read_is_passed_over() -> None:
    peers = Peers()
    strange = {"a": b"", "b": b"\xff", "c": b'{"id":3}', "d": b"[" * 100_000}
    peers.hear(strange | {"other-1": told()}, 0.0)
    assert [peer.summary.id for peer in peers.all(0.0)] == ["other-1"]


def test_a_field_of_another_version_does_no_harm() -> None:
    peers = Peers()
    peers.hear({"new": b'{"id":"new","version":"9","moods":{"a":[1]}}'}, 0.0)
    assert peers.all(0.0)[0].summary == WorkerSummary("new", "9")


def test_there_are_no_more_than_can_be_shown() -> None:
    peers = Peers()
    peers.hear({f"w{n:03}": told() for n in range(500)}, 0.0)
    assert len(peers.all(0.0)) == MOST
