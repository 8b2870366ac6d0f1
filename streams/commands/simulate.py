"""``metric-streams simulate``: publishes as devices would, and tells what the broker took."""

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import click
import msgspec
from click import FloatRange, IntRange
from faust.cli import option
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streams.commands.base import PlainCommand, command
from streams.database.session import connected
from streams.database.tenant_admin import list_tenants
from streams.demo.fleet import Fleet, FleetSummary, Publisher
from streams.demo.simulation import DEFAULT_SHARES, PublicationKind, Shares, Simulation
from streams.errors import MetricStreamsError, Outage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher

SAY_EVERY_S = 1.0


class SimulationRun(msgspec.Struct, frozen=True):
    """What is asked for."""

    rate: float
    """Messages a second."""
    seconds: float | None
    count: int | None
    """The run ends at whichever of the two comes first; without both, when it is interrupted."""
    tenants: Sequence[str]
    devices: int
    shares: Shares
    qos: int
    seed: int


def _share(default: float) -> dict[str, Any]:
    return {"type": FloatRange(0, 1), "default": default, "show_default": True}


@command(
    option("--rate", type=FloatRange(1e-3, 1e5), default=20, show_default=True, help="messages a second"),
    option("--seconds", type=FloatRange(min=0, min_open=True), help="stop after so many seconds"),
    option("--count", type=IntRange(min=1), help="stop after so many messages"),
    option("--tenant", multiple=True, help="a tenant's id, repeatable; default: those in the tenants table"),
    option("--devices", type=IntRange(min=1), default=5, show_default=True, help="devices of each tenant"),
    option(
        "--duplicates", **_share(DEFAULT_SHARES.duplicates), help="share of exact copies of earlier readings"
    ),
    option(
        "--corrections",
        **_share(DEFAULT_SHARES.corrections),
        help="share of new values under an old dedupe_id",
    ),
    option(
        "--malformed",
        **_share(DEFAULT_SHARES.malformed),
        help="share to be rejected, for each reason in turn",
    ),
    option("--qos", type=IntRange(0, 2), default=1, show_default=True, help="MQTT's quality of service"),
    option("--seed", type=int, help="repeat the values and dedupe_ids of an earlier run"),
    option("--json", "as_json", is_flag=True, help="print the summary as JSON"),
)
async def simulate(
    self: PlainCommand,
    *,
    rate: float,
    seconds: float | None,
    count: int | None,
    tenant: tuple[str, ...],
    devices: int,
    duplicates: float,
    corrections: float,
    malformed: float,
    qos: int,
    seed: int | None,
    as_json: bool,
) -> None:
    """Publish as devices would; ends by itself with --seconds or --count, otherwise with Ctrl+C."""
    tenants = list(tenant) or await known_tenants(self.settings.database_url.get_secret_value())
    shares = Shares(duplicates, corrections, malformed)
    number = secrets.randbits(32) if seed is None else seed
    job = SimulationRun(rate, seconds, count, tenants, devices, shares, qos, number)
    form = as_json_line if as_json or self.json else shown
    async with MqttPublisher(Address.of(self.settings)) as publisher:
        await perform(job, publisher, lambda summary: self.say(form(job, summary)))


async def perform(job: SimulationRun, publisher: Publisher, tell: Callable[[FleetSummary], Any]) -> None:
    """Publish until the end or an interrupt, and tell what came of it, also of a run that broke off.

    Raises:
        MetricStreamsError: if the shares are impossible, or not everything was taken by the broker.
    """
    with progress(job) as on_progress:
        fleet = Fleet(_plan(job), publisher, rate=job.rate, qos=job.qos, on_progress=on_progress)
        loop = asyncio.get_running_loop()
        for caught in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(caught, fleet.stop)
        if job.seconds is not None:
            loop.call_later(job.seconds, fleet.stop)
        broken: Outage | None = None
        try:
            await fleet.run()
        except Outage as outage:
            broken = outage
    tell(fleet.summary)
    if broken is not None:
        raise MetricStreamsError(f"the run ended early: {broken}")
    if fleet.summary.acked.total() < fleet.summary.sent:
        raise MetricStreamsError("the broker did not take every message")


async def known_tenants(database_url: str) -> list[str]:
    """Return the ids in the tenants table.

    Raises:
        MetricStreamsError: if there are none, or nobody can tell.
    """
    hint = "name one with --tenant ID"
    try:
        async with connected(database_url) as connection:
            tenants = [str(tenant.id) for tenant in await list_tenants(connection)]
    except Outage as outage:
        raise MetricStreamsError(f"the tenants cannot be read, {hint}: {outage}") from outage
    if not tenants:
        raise MetricStreamsError(f"the tenants table is empty: metric-streams tenants add NAME, or {hint}")
    return tenants


def _plan(job: SimulationRun) -> Iterator[Any]:
    step = max(timedelta(seconds=1 / job.rate), timedelta(microseconds=1))
    start = datetime.now(UTC)
    try:
        plan = Simulation(
            job.tenants, devices=job.devices, shares=job.shares, seed=job.seed, start=start, step=step
        )
    except ValueError as error:
        raise MetricStreamsError(str(error)) from error
    return islice(plan, job.count)


@contextmanager
def progress(job: SimulationRun) -> Iterator[Callable[[FleetSummary], None]]:
    """Yield what shows progress on stderr: a bar on a terminal, a line a second elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    total = min(job.count or float("inf"), job.rate * job.seconds if job.seconds else float("inf"))
    rate = TextColumn("{task.fields[rate]:,.0f}/s acknowledged")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), rate)
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("publishing", total=None if total == float("inf") else round(total), rate=0.0)
        yield lambda summary: bar.update(task, completed=summary.acked.total(), rate=summary.rate)


class _Lines:
    """Says where a run stands, now and then."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, summary: FleetSummary) -> None:
        if time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            click.echo(f"{summary.sent:,} sent, {summary.acked.total():,} acknowledged", err=True)


def shown(job: SimulationRun, summary: FleetSummary) -> str:
    """Return a summary for a person."""
    lines = [
        f"{summary.sent:,} messages sent at QoS {job.qos} in {summary.seconds:.1f} s",
        f"{summary.acked.total():,} acknowledged: {summary.rate:,.0f}/s of the {job.rate:,.0f}/s asked for",
        *(f"  {kind:10} {summary.acked[kind]:>10,}" for kind in PublicationKind),
    ]
    if summary.refused:
        lines.append(f"  refused    {summary.refused.total():>10,}")
    if summary.unanswered:
        lines.append(f"  unanswered {summary.unanswered:>10,}")
    return "\n".join([*lines, f"  (--seed {job.seed} gives the same values again)"])


def as_json_line(job: SimulationRun, summary: FleetSummary) -> str:
    """Return a summary for a program."""
    outcome = {
        "sent": summary.sent,
        "acked": summary.acked.total(),
        "refused": summary.refused.total(),
        "unanswered": summary.unanswered,
        "acked_by_kind": {kind: summary.acked[kind] for kind in PublicationKind},
        "seconds": round(summary.seconds, 3),
        "rate": round(summary.rate, 1),
        "rate_asked": job.rate,
        "qos": job.qos,
        "seed": job.seed,
    }
    return msgspec.json.encode(outcome).decode()
