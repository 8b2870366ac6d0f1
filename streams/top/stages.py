"""The table of stages: what goes in and out a second, how soon, and what is behind. Pure."""

from collections.abc import Sequence

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from streams.timings import HANDOFF, INGRESS, REFINE
from streams.top.sample import Sample, quantile

US = 1_000_000
MS = 1_000
REASONS_SHOWN = 6
PARTS = ("mqtt", "kafka", "redis", "postgres")
JUDGED = ("accepted", "duplicate", "rejected")


class StageFigures(msgspec.Struct, frozen=True):
    """One stage, as it was between two looks."""

    stage: str
    in_per_s: float
    out_per_s: float
    median_ms: float | None
    """From the arrival until this stage was through; None if nothing was."""
    p95_ms: float | None
    lag: int | None
    """Records, of ingest jobs, that wait for it; of ingress nobody knows."""
    total: int
    """What has gone out since the start."""


class StageFlow(msgspec.Struct, frozen=True):
    """All that is shown."""

    stages: list[StageFigures]
    cpu_us: float | None
    """Microseconds of CPU that the workers took for a message; None if none came."""
    workers: int
    lag_s: float
    down: list[str]
    rejected: dict[str, int]
    """By reason, since the start."""


def flow_of(before: Sample, now: Sample) -> StageFlow:
    """Return what flowed between two looks."""
    elapsed_s = max(now.at_s - before.at_s, 1e-3)

    def rate(*names: str) -> float:
        return sum(now.totals[name] - before.totals[name] for name in names) / elapsed_s

    def stage(name: str, came: float, went: float, lag: int | None, total: int) -> StageFigures:
        both = now.latencies.get(name, {}), before.latencies.get(name, {})
        times = [None if (s := quantile(share, *both)) is None else round(s * MS, 1) for share in (0.5, 0.95)]
        return StageFigures(name, round(came, 1), round(went, 1), times[0], times[1], lag, total)

    received = rate("received")
    cpu_s = now.cpu_s["worker"] - before.cpu_s["worker"]
    stages = [
        stage(INGRESS, received, rate("acknowledged"), None, now.totals["acknowledged"]),
        stage(REFINE, rate(*JUDGED), rate("accepted"), now.lag["raw"], now.totals["accepted"]),
        stage(HANDOFF, rate("pushed"), rate("pushed"), now.lag["unique"], now.totals["pushed"]),
    ]
    if now.programs["ingest"]:
        stages.append(stage("ingest", rate("rows"), rate("rows"), now.lag["jobs"], now.totals["rows"]))
    cpu_us = cpu_s / (received * elapsed_s) * US if received > 0 else None
    rejected = {reason: count for reason, count in now.reasons.most_common() if count}
    return StageFlow(stages, cpu_us, now.programs["worker"], now.lag_s, sorted(now.down), rejected)


def table(flow: StageFlow) -> Group:
    """Return it for a terminal of 80 columns."""
    rows = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    rows.add_column("stage")
    for name in ("in/s", "out/s", "median ms", "p95 ms", "lag", "total"):
        rows.add_column(name, justify="right", min_width=7)
    for stage in flow.stages:
        lag = Text("" if stage.lag is None else f"{stage.lag:,}", style="yellow" if stage.lag else "")
        rates = (f"{stage.in_per_s:,.1f}", f"{stage.out_per_s:,.1f}")
        rows.add_row(stage.stage, *rates, _ms(stage.median_ms), _ms(stage.p95_ms), lag, f"{stage.total:,}")
    return Group(_head(flow), Text(), rows, *_rejected(flow.rejected))


def _head(flow: StageFlow) -> Text:
    many = f"{flow.workers} worker{'s' * (flow.workers != 1)}"
    cpu = "" if flow.cpu_us is None else f", {flow.cpu_us:,.0f} µs of CPU a message"
    behind = f", {flow.lag_s:.1f} s behind" if flow.lag_s >= 0.1 else ""  # noqa: PLR2004 - what can be seen
    head = Text(f"{many}{cpu}{behind}: ")
    if flow.down:
        return head.append(f"without {', '.join(flow.down)}", style="bold red")
    return head.append("every part is up", style="green")


def _rejected(reasons: dict[str, int]) -> Sequence[Text]:
    if not reasons:
        return []
    shown = [f"{reason} {count:,}" for reason, count in list(reasons.items())[:REASONS_SHOWN]]
    more = f", {len(reasons) - REASONS_SHOWN} other reasons" if len(reasons) > REASONS_SHOWN else ""
    return [Text(), Text("rejected ", style="dim").append(", ".join(shown) + more, style="default")]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"  # noqa: PLR2004
