"""How long messages take to each stage, how many travel together, and when MQTT was last heard of.

Written by the agents once for each chunk, read by ``/metrics`` and the dashboard. Pure: it is told the time.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.wire.raw import unix_s

LATENCY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""A message takes some 10 ms without load; what waits out an outage takes as long as that."""
CHUNK_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""A chunk holds 500 messages at most."""
INGRESS, REFINE, HANDOFF = STAGES = ("ingress", "refine", "handoff")
"""What has been done with a message by then: written to metrics.raw, decided and emitted, pushed as a job."""


class Histogram:
    """Counts values by upper bound, as Prometheus does.

    Args:
        bounds: in ascending order; what lies above the last is counted as well.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        """The sum of all values."""
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value so many times."""
        # Prometheus counts what equals a bound below it.
        self._counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def counts(self) -> tuple[int, ...]:
        """Return how many values fell below each bound and above the one before; the last has no bound."""
        return tuple(self._counts)

    def quantile(self, share: float, since: Sequence[int] = ()) -> float | None:
        """Return the value below which a share of all lies, evenly spread within a bucket; None without any.

        Args:
            share: above 0, at most 1.
            since: what `counts` said before; only what came later is looked at.
        """
        before = since or (0,) * len(self._counts)
        new = [now - then for now, then in zip(self._counts, before, strict=True)]
        wanted, below = share * sum(new), 0
        for count, lower, upper in zip(new, (0.0, *self.bounds), self.bounds, strict=False):
            if count and below + count >= wanted:
                return lower + (upper - lower) * (wanted - below) / count
            below += count
        return self.bounds[-1] if new[-1] else None


def _latencies() -> dict[str, Histogram]:
    return {stage: Histogram(LATENCY_BOUNDS_S) for stage in STAGES}


def _chunks() -> dict[str, Histogram]:
    return {stage: Histogram(CHUNK_BOUNDS) for stage in STAGES}


@dataclass(slots=True)
class Timings:
    """What the agents note for each chunk."""

    latency_s: dict[str, Histogram] = field(default_factory=_latencies)
    """By stage: seconds from the arrival of a chunk's oldest message, counted for each of its messages."""
    chunk_messages: dict[str, Histogram] = field(default_factory=_chunks)
    """By stage: messages of a chunk."""
    received_at: float = 0.0
    """Unix time at which a message came from the broker last; 0 for never."""
    acknowledged_at: float = 0.0
    """Unix time at which messages were acknowledged to the broker last; 0 for never."""

    def passed(self, stage: str, messages: int, arrived: float | str | None, now: float) -> None:
        """Note that a chunk has passed a stage.

        Args:
            stage: one of `STAGES`.
            messages: how many it holds.
            arrived: when its oldest message came, as Unix time or as records have it; neither None nor what
                cannot be read tells anything.
            now: Unix time; before the arrival where two workers' clocks disagree, which counts as no time.
        """
        self.chunk_messages[stage].observe(messages)
        arrived_at = unix_s(arrived) if isinstance(arrived, str) else arrived
        if arrived_at is not None:
            # For each message by the oldest one: an upper bound, at one look for the whole chunk.
            self.latency_s[stage].observe(max(0.0, now - arrived_at), messages)
