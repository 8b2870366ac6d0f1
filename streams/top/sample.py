"""What the pages of all processes say at one moment, put together. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from streams.timings import STAGES

PREFIX = "metric_streams_"


@dataclass
class Sample:
    """The counters of all processes, added up; and how their parts fare."""

    at_s: float
    """Of a clock that never goes back."""
    totals: Counter[str] = field(default_factory=Counter)
    """By outcome (received, acknowledged, accepted, duplicate, rejected, pushed), and rows, jobs, bytes."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Rejected messages by reason."""
    lag: Counter[str] = field(default_factory=Counter)
    """Records behind, by topic; and ``jobs`` that are due."""
    lag_s: float = 0.0
    """The age of the oldest record that is not handled."""
    latencies: dict[str, dict[float, float]] = field(default_factory=lambda: {stage: {} for stage in STAGES})
    """By stage: messages below each bound in seconds."""
    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds of CPU, by program."""
    started: set[float] = field(default_factory=set)
    """When each process was started: a restart begins its counters anew."""
    down: set[str] = field(default_factory=set)
    """The parts that some process is without."""
    programs: Counter[str] = field(default_factory=Counter)

    def add(self, page: str) -> None:
        """Take in a page.

        Raises:
            ValueError: if it is none of Prometheus'.
        """
        families = list(text_string_to_metric_families(page))
        samples = [sample for family in families for sample in family.samples]
        names = (one.labels["program"] for one in samples if one.name == f"{PREFIX}build_info")
        program = next(names, "")
        self.programs[program] += 1
        for one in samples:
            self._take(one.name.removeprefix(PREFIX), one.labels, one.value, program)

    def _take(self, name: str, labels: dict[str, str], value: float, program: str) -> None:  # noqa: C901 - a table
        match name:
            case "messages_total":
                self.totals[labels["outcome"]] += int(value)
            case "rejected_messages_total":
                self.reasons[labels["reason"]] += int(value)
            case "ingest_rows_total":
                self.totals["rows"] += int(value)
            case "lag_records":
                self.lag[labels["topic"].rpartition(".")[2]] += int(value)
            case "lag_seconds":
                self.lag_s = max(self.lag_s, value)
            case "queue_jobs" if labels["state"] == "due":
                self.lag["jobs"] = max(self.lag["jobs"], int(value))  # every process sees the same queue
            case "latency_seconds_bucket":
                bound = math.inf if labels["le"] == "+Inf" else float(labels["le"])
                stage = self.latencies.setdefault(labels["stage"], {})
                stage[bound] = stage.get(bound, 0.0) + value
            case "part_up" if not value:
                self.down.add(labels["part"])
            case "process_cpu_seconds_total":
                self.cpu_s[program] += value
            case "start_timestamp_seconds":
                self.started.add(value)


def quantile(share: float, now: dict[float, float], before: dict[float, float]) -> float | None:
    """Return the value in seconds below which a share of what came in between lies; None if nothing came.

    Args:
        share: above 0, at most 1.
        now: how many lay below each bound.
        before: how many had at an earlier time.
    """
    bounds = sorted(now)
    below = [now[bound] - before.get(bound, 0.0) for bound in bounds]
    if not bounds or below[-1] <= 0:
        return None
    wanted = share * below[-1]
    at = next(number for number, count in enumerate(below) if count >= wanted)
    lower, under = (bounds[at - 1], below[at - 1]) if at else (0.0, 0.0)
    if math.isinf(bounds[at]):
        return lower
    return lower + (bounds[at] - lower) * (wanted - under) / (below[at] - under)


def reset_between(before: Sample, now: Sample) -> bool:
    """Tell whether a process was started anew or is gone: then rates would be nonsense."""
    return before.started != now.started


def any_of(samples: Sequence[Sample]) -> Sample | None:
    """Return the oldest sample that the newest can be compared with."""
    newest = samples[-1]
    return next((one for one in samples[:-1] if not reset_between(one, newest)), None)
