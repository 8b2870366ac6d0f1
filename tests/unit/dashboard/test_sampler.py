"""What a look at the worker makes of its counters, and of what the others tell."""

import pytest

from streams.counters import Statistics
from streams.dashboard.exchange import Queued
from streams.dashboard.peers import Peers
from streams.dashboard.sampler import NAMES, REASONS, STAGES, OwnFigures, Sampler
from streams.dashboard.summary import WorkerSummary, encode

RAW, UNIQUE = "metrics.raw", "metrics.unique"
SEEN = OwnFigures(leads=True, rebalances=1, partitions={RAW: 4}, lag={RAW: 3, UNIQUE: 1})


class FakeWorker:
    def __init__(self) -> None:
        self.now = SEEN

    def seen(self) -> OwnFigures:
        return self.now


class Scene:
    def __init__(self) -> None:
        self.statistics = Statistics(started_at=900.0)
        self.worker = FakeWorker()
        self.peers = Peers()
        self.queued: Queued | None = Queued(7, 0, 2)
        self.sampler = Sampler(
            "this-1",
            "1.0",
            self.statistics,
            self.worker,
            topics=(RAW, UNIQUE),
            peers=self.peers,
            queued=lambda: self.queued,
        )
        self.now = 0.0

    def look(self, after_s: float = 1.0) -> dict[str, float]:
        self.now += after_s
        return self.sampler.look(self.now, 1_000.0 + self.now)

    @property
    def marks(self) -> list[tuple[str, str]]:
        return [(mark.kind, mark.text) for mark in self.sampler.marks]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_rate_is_what_was_counted_in_the_time_that_passed(scene: Scene) -> None:
    scene.statistics.messages["received"] = 1_000_000
    assert scene.look()["received"] == 0  # what was before the first look is no rate
    scene.statistics.messages["received"] += 50
    assert scene.look(2.0)["received"] == 25
    assert scene.look()["received"] == 0


def test_rejections_have_a_rate_by_reason(scene: Scene) -> None:
    scene.look()
    scene.statistics.rejected["value_missing"] += 4
    figures = scene.look(2.0)
    assert figures["rejected:value_missing"] == 2
    assert sum(figures[reason] for reason in REASONS) == 2


def test_the_figures_are_those_of_the_whole_group(scene: Scene) -> None:
    other = WorkerSummary(
        "other-1", rates={"received": 10.0, "pushed": 5.0}, lag={RAW: 40, UNIQUE: 2}, behind_s=9.0
    )
    scene.look()
    scene.statistics.messages["received"] += 3
    scene.peers.hear({"other-1": encode(other)}, scene.now + 1)
    figures = scene.look()
    assert (figures["received"], figures["pushed"]) == (13, 5)
    assert (figures["lag_raw"], figures["lag_unique"], figures["behind_s"]) == (43, 3, 9)


def test_a_worker_that_is_silent_counts_no_more(scene: Scene) -> None:
    scene.peers.hear({"other-1": encode(WorkerSummary("other-1", rates={"received": 10.0}))}, scene.now)
    scene.look(1.0)
    assert scene.look(5.0)["received"] == 0


def test_what_another_version_tells_of_stages_that_are_not_known_is_left_out(scene: Scene) -> None:
    scene.peers.hear({"other-1": encode(WorkerSummary("other-1", rates={"teleported": 10.0}))}, scene.now)
    assert scene.look().keys() <= set(NAMES)


def test_what_is_not_known_is_in_no_figure(scene: Scene) -> None:
    scene.queued = None
    scene.worker.now = SEEN._replace(lag=None)
    figures = scene.look()
    assert not figures.keys() & {"lag_raw", "lag_unique", "queue_waiting", "latency_p50"}
    assert scene.sampler.ring.history()["lag_raw"] == [None]


def test_a_latency_is_that_of_the_slowest_worker(scene: Scene) -> None:
    scene.worker.now = SEEN._replace(latency_s={"p95": 0.2})
    scene.peers.hear({"other-1": encode(WorkerSummary("other-1", latency_s={"p95": 0.7}))}, scene.now)
    assert scene.look()["latency_p95"] == 0.7


def test_a_start_a_rebalance_and_a_new_leader_leave_marks(scene: Scene) -> None:
    scene.look()
    scene.worker.now = SEEN._replace(rebalances=2, leads=False)
    scene.look()
    scene.look()
    assert [kind for kind, _ in scene.marks] == ["start", "rebalance", "leader"]
    assert scene.marks[-1][1] == "this-1 carries MQTT no more"


def test_a_part_leaves_marks_where_it_goes_and_comes_but_not_at_the_start(scene: Scene) -> None:
    scene.statistics.expect("redis")
    scene.look()
    scene.statistics.up("redis", "x")
    scene.look()
    scene.statistics.down("redis", "x", "gone")
    scene.look()
    scene.statistics.up("redis", "x")
    scene.look()
    assert [text for kind, text in scene.marks if kind == "part"] == ["redis is away", "redis is back"]


def test_the_summary_tells_what_others_show(scene: Scene) -> None:
    scene.look()
    scene.statistics.messages["pushed"] += 8
    scene.statistics.busy_tenants.note({"some-tenant": 8})
    scene.statistics.down("redis", "x", "y" * 10_000)
    scene.look()
    summary = scene.sampler.summary
    assert (summary.id, summary.leads, summary.lag) == ("this-1", True, {RAW: 3, UNIQUE: 1})
    assert summary.rates == {"pushed": 8.0}
    assert [tenant.id for tenant in summary.tenants] == ["some-tenant"]
    assert summary.parts["redis"].up is False


def test_a_summary_stays_small_whatever_devices_do(scene: Scene) -> None:
    scene.look()
    for n in range(10_000):
        scene.statistics.busy_tenants.note({f"{n:036}": 1})
        scene.statistics.refused.unknown_tenants.note({f"{n:036}": 1})
    for reason in REASONS:
        scene.statistics.rejected[reason.removeprefix("rejected:")] += 1
    scene.look()
    assert len(encode(scene.sampler.summary)) < 10_000


def test_every_stage_has_a_figure(scene: Scene) -> None:
    assert set(STAGES) <= scene.look().keys()
