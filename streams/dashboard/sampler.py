"""Takes one look a second at what the worker counts, and keeps what the dashboard shows of it.

Between the `Statistics`, which the agents write, and the board, which the pages read. It costs some tens of
microseconds a second, whether anybody watches or not.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from streams.counters import Count, Statistics
from streams.dashboard.busiest import Busy
from streams.dashboard.exchange import Queued
from streams.dashboard.peers import FRESH_S, Peers
from streams.dashboard.ring import Ring
from streams.dashboard.summary import TENANTS_TOLD, PartSeen, TenantSeen, WorkerSummary
from streams.models import Reason

STAGES = (
    Count.RECEIVED,
    Count.WRITTEN,
    Count.ACCEPTED,
    Count.DUPLICATE,
    Count.REJECTED,
    Count.PUSHED,
    Count.JOBS,
)
REASONS = tuple(f"rejected:{reason}" for reason in Reason)
MARKS_KEPT = 64
NAMES = (
    *STAGES,
    *REASONS,
    "lag_raw",
    "lag_unique",
    "behind_s",
    "queue_waiting",
    "queue_reserved",
    "latency_p50",
    "latency_p95",
    "latency_p99",
)


class EventMark(msgspec.Struct, frozen=True):
    """Something that happened, as a line through the plots."""

    at: float
    """Unix time in seconds."""
    kind: str
    """``start``, ``rebalance``, ``leader`` or ``part``."""
    text: str


class OwnFigures(NamedTuple):
    """What the worker itself knows in a second."""

    leads: bool
    rebalances: int
    """How many there have been since the start."""
    partitions: Mapping[str, int]
    """How many this worker holds, by topic."""
    lag: Mapping[str, int] | None
    """Records behind, by topic; None while that is not known."""
    behind_s: float = 0.0
    """The age of the oldest record that was fetched and not handled."""
    latency_s: Mapping[str, float] = {}
    """From arrival to the job, by percentile as ``p95``; empty where nothing came."""


class SampledWorker(Protocol):
    """The worker, as the sampler needs it."""

    def seen(self) -> OwnFigures:
        """Return what there is to know now."""
        ...


class Sampler:
    """Looks once a second.

    Args:
        name: of this worker.
        version: of the project.
        statistics: what the agents count in.
        worker: this worker.
        topics: metrics.raw and metrics.unique, as they are called.
        peers: the other workers.
        queued: tells the jobs of the queue; None while they are not known.

    Attributes:
        ring: the last fifteen minutes of the group.
        marks: what happened in that time.
        summary: this worker, as of the last look.
    """

    def __init__(
        self,
        name: str,
        version: str,
        statistics: Statistics,
        worker: SampledWorker,
        *,
        topics: tuple[str, str],
        peers: Peers,
        queued: Callable[[], Queued | None],
    ) -> None:
        self._name = name
        self._version = version
        self._statistics = statistics
        self._worker = worker
        self._topics = topics
        self._peers = peers
        self._queued = queued
        self._counts: Counter[str] | None = None
        self._looked_at = 0.0
        self._before: OwnFigures | None = None
        self._parts_up: dict[str, bool] = {}
        self.ring = Ring(NAMES, quiet=REASONS)
        self.marks: deque[EventMark] = deque(maxlen=MARKS_KEPT)
        self.marks.append(EventMark(statistics.started_at, "start", f"{name} started"))
        self.summary = WorkerSummary(name, version, statistics.started_at)

    def look(self, now: float, wall: float) -> dict[str, float]:
        """Take a look; return the figures of the group.

        Args:
            now: seconds that never go back.
            wall: Unix time in seconds.
        """
        # By the clock that never goes back: a rate over a second that was set back would be negative.
        elapsed_s = now - self._looked_at if self._counts is not None else 0.0
        self._looked_at = now
        rates = self._rates(elapsed_s)
        self._fold(wall, elapsed_s)
        seen = self._worker.seen()
        self._mark(seen, wall)
        self.summary = self._summary(seen, rates)
        figures = self._figures(now, rates, seen)
        self.ring.add(wall, figures)
        return figures

    def _rates(self, elapsed_s: float) -> dict[str, float]:
        messages, rejected = self._statistics.messages, self._statistics.rejected
        counts: Counter[str] = Counter({str(stage): messages[stage] for stage in STAGES})
        counts.update({f"rejected:{reason}": count for reason, count in rejected.items()})
        before, self._counts = self._counts, counts
        if before is None or elapsed_s <= 0:
            return {}
        return {
            name: (count - before[name]) / elapsed_s for name, count in counts.items() if count > before[name]
        }

    def _fold(self, wall: float, elapsed_s: float) -> None:
        self._statistics.busy_tenants.fold(wall, elapsed_s)
        self._statistics.refused.unknown_tenants.fold(wall, elapsed_s)

    def _mark(self, seen: OwnFigures, wall: float) -> None:
        before, self._before = self._before, seen
        if before is not None and seen.rebalances != before.rebalances:
            self.marks.append(EventMark(wall, "rebalance", f"the group rebalanced, seen by {self._name}"))
        if before is not None and seen.leads != before.leads:
            does = "now carries MQTT" if seen.leads else "carries MQTT no more"
            self.marks.append(EventMark(wall, "leader", f"{self._name} {does}"))
        self._mark_parts(wall)

    def _mark_parts(self, wall: float) -> None:
        for name, part in self._statistics.parts.items():
            was_up = self._parts_up.get(name)
            if was_up is not None and was_up is not part.up:
                self.marks.append(EventMark(wall, "part", f"{name} {'is back' if part.up else 'is away'}"))
            # At the start nothing is up, and that says nothing.
            if part.up or was_up is not None:
                self._parts_up[name] = part.up

    def _summary(self, seen: OwnFigures, rates: Mapping[str, float]) -> WorkerSummary:
        refused = self._statistics.refused
        return WorkerSummary(
            self._name,
            self._version,
            self._statistics.started_at,
            seen.leads,
            dict(seen.partitions),
            {name: round(rate, 2) for name, rate in rates.items()},
            None if seen.lag is None else dict(seen.lag),
            round(seen.behind_s, 3),
            {name: round(seconds, 4) for name, seconds in seen.latency_s.items()},
            {
                name: PartSeen(part.up, part.detail[:300], part.since)
                for name, part in sorted(self._statistics.parts.items())
            },
            [_told(busy) for busy in self._statistics.busy_tenants.top(TENANTS_TOLD)],
            [_told(busy) for busy in refused.unknown_tenants.latest(TENANTS_TOLD)],
            refused.examples(),
        )

    def _figures(self, now: float, rates: Mapping[str, float], seen: OwnFigures) -> dict[str, float]:
        """Add up what this worker and the others tell."""
        others = [peer.summary for peer in self._peers.all(now) if peer.silent_s < FRESH_S]
        known = dict.fromkeys((*STAGES, *REASONS), 0.0)
        for told in (rates, *(other.rates for other in others)):
            for name in told.keys() & known.keys():
                known[name] += told[name]
        lags = [lag for lag in (seen.lag, *(other.lag for other in others)) if lag is not None]
        if seen.lag is not None:
            for figure, topic in zip(("lag_raw", "lag_unique"), self._topics, strict=True):
                known[figure] = sum(lag.get(topic, 0) for lag in lags)
        known["behind_s"] = max(seen.behind_s, *(other.behind_s for other in others), 0.0)
        if (queued := self._queued()) is not None:
            known |= {"queue_waiting": queued.waiting, "queue_reserved": queued.reserved}
        for latency_s in (seen.latency_s, *(other.latency_s for other in others)):  # the slowest worker's
            for name, seconds in latency_s.items():
                known[f"latency_{name}"] = max(seconds, known.get(f"latency_{name}", 0.0))
        return known


def _told(busy: Busy) -> TenantSeen:
    return TenantSeen(busy.key, round(busy.per_s, 2), busy.total, busy.last)
