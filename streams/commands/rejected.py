"""``metric-streams rejected``: lists what was rejected, puts it back, or dismisses it."""

import heapq
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import click
import msgspec
from faust.cli import argument, option
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams.browse.messages import payload_text
from streams.commands.base import PlainCommand, command
from streams.commands.selecting import filter_of, span_of
from streams.errors import MetricStreamsError, Outage
from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.logs.plain import plain
from streams.progress import OnProgress, quiet
from streams.rejections.listing import Rejected, Selection, rejections
from streams.rejections.replay import Plan, Replay, ReplayOutcome, dismiss, plan
from streams.settings import Settings

WIDTH = 80
ACTIONS = ["list", "show", "count", "export", "replay", "dismiss"]


@command(
    argument("action", type=click.Choice(ACTIONS), default="list"),
    argument("coordinates", nargs=-1, metavar="[COORDINATE]..."),
    option("--reason", "reasons", multiple=True, help="as the rejection has it; repeatable"),
    option("--tenant", "tenants", multiple=True, help="a glob; repeatable"),
    option("--agent", "agents", multiple=True, help="a glob: 'edge-*'; repeatable"),
    option("--metric", "metrics", multiple=True, help="a glob: 'cpu.*'; repeatable"),
    option("--since", help="rejected since: 10m, 2h, 7d, or 2026-11-23T14:00:00Z"),
    option("--until", help="rejected before that time"),
    option("--text", default="", help="in topic, payload or detail, in whichever case"),
    option("--all", "hidden", is_flag=True, help="also what was put back or dismissed"),
    option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="list: the newest"),
    option("--dry-run", is_flag=True, help="replay, dismiss: only count"),
    option("--yes", is_flag=True, help="replay, dismiss: do not ask"),
    option("--rate", type=click.FloatRange(min=0.1), help="replay: messages a second at most"),
    option("--json", "as_json", is_flag=True, help="print JSON: a line for each message"),
)
async def rejected(
    self: PlainCommand,
    action: str,
    coordinates: tuple[str, ...],
    *,
    reasons: tuple[str, ...],
    tenants: tuple[str, ...],
    agents: tuple[str, ...],
    metrics: tuple[str, ...],
    since: str | None,
    until: str | None,
    text: str,
    hidden: bool,
    limit: int,
    dry_run: bool,
    yes: bool,
    rate: float | None,
    as_json: bool,
) -> None:
    """List, show, count, export, put back (replay) or dismiss what was rejected.

    A COORDINATE is that of a raw message, 3-1841-4, or of a whole chunk, 3-1841.

    Example: metric-streams rejected replay --reason tenant_unknown --since 2h
    """
    wanted = filter_of(
        tenants=tenants, agents=agents, metrics=metrics, reasons=reasons, text=text, coordinates=coordinates
    )
    selection = Selection(wanted, span_of(since, until, datetime.now(UTC)), hidden or action == "show")
    as_json = as_json or bool(self.json)
    if action in {"replay", "dismiss"}:
        act = _Act(self.settings, self.say, action, as_json=as_json)
        await act(selection, ask=not yes, dry_run=dry_run, rate=rate)
    elif action == "count":
        await _count(self.settings, self.say, selection, as_json=as_json)
    elif action == "list" and not as_json:
        await _list(self.settings, self.say, selection, limit)
    elif action == "list":
        for each in await newest(self.settings, selection, limit):
            self.say(line_of_json(each))
    else:
        form = line_of_json if as_json or action == "export" else page
        await _each(self.settings, self.say, selection, form)


async def _each(
    settings: Settings,
    say: Callable[[str], Any],
    selection: Selection,
    form: Callable[[Rejected], str],
) -> None:
    asked = [str(at) for at in selection.wanted.coordinates]
    shown = 0
    async with aclosing(rejections(settings, selection)) as found:
        async for each in found:
            say(form(each))
            shown += 1
    if asked and not shown:
        raise MetricStreamsError(f"nothing at {', '.join(asked)} was rejected, or it is no longer kept")


async def newest(settings: Settings, selection: Selection, limit: int) -> list[Rejected]:
    """Return the messages that were rejected last, the oldest of them first."""
    kept: list[tuple[int, int, Rejected]] = []
    order = count()
    with progress("reading") as on_progress:
        async with aclosing(rejections(settings, selection, on_progress=on_progress)) as found:
            async for each in found:
                entry = (each.message.record.written_ms, next(order), each)
                if len(kept) < limit:
                    heapq.heappush(kept, entry)
                else:
                    heapq.heappushpop(kept, entry)
    return [each for _, _, each in sorted(kept)]


async def _list(settings: Settings, say: Callable[[str], Any], selection: Selection, limit: int) -> None:
    found = await newest(settings, selection, limit)
    if not found:
        say("nothing was rejected, or all of it was put back or dismissed (--all)")
        return
    say(f"{'COORDINATE':14} {'REJECTED (UTC)':14} {'REASON':22} AGENT/METRIC")
    for each in found:
        say(row(each))
    if len(found) == limit:
        say(f"These are the newest {limit}; --limit shows more, count tells how many there are.")


async def _count(
    settings: Settings, say: Callable[[str], Any], selection: Selection, *, as_json: bool
) -> None:
    by_reason: Counter[str] = Counter()
    with progress("reading") as on_progress:
        async with aclosing(rejections(settings, selection, on_progress=on_progress)) as found:
            async for each in found:
                by_reason[str(each.message.reason)] += 1
    if as_json:
        say(msgspec.json.encode({"messages": by_reason.total(), "by_reason": by_reason}).decode())
        return
    for reason, number in by_reason.most_common():
        say(f"{number:12,}  {reason}")
    say(f"{by_reason.total():12,}  in all")


class _Act:
    """Replays or dismisses: counts, asks, does it, and tells what came of it."""

    def __init__(self, settings: Settings, say: Callable[[str], Any], action: str, *, as_json: bool) -> None:
        self._settings = settings
        self._say = say
        self._action = action
        self._as_json = as_json

    async def __call__(self, selection: Selection, *, ask: bool, dry_run: bool, rate: float | None) -> None:
        with progress("counting") as on_progress:
            counted = await plan(self._settings, selection, on_progress=on_progress)
        if self._action == "dismiss":
            counted.messages, counted.cut = counted.messages + counted.cut, 0
        if not self._as_json:
            for line in plan_lines(self._action, counted):
                self._say(line)
        if dry_run or not counted.messages:
            self._tell_json(counted, ReplayOutcome())
            return
        if ask and not confirmed(self._action):
            raise MetricStreamsError("nothing was done")
        if self._action == "dismiss":
            with progress("dismissing") as on_progress:
                done = await dismiss(self._settings, selection, ends=counted.ends, on_progress=on_progress)
            self._tell_json(counted, ReplayOutcome(), dismissed=done)
            if not self._as_json:
                self._say(f"dismissed {done:,} messages; --all still shows them")
            return
        outcome = await self._replay(selection, counted, rate)
        self._tell_json(counted, outcome)
        if not self._as_json:
            for line in outcome_lines(outcome):
                self._say(line)

    async def _replay(self, selection: Selection, counted: Plan, rate: float | None) -> ReplayOutcome:
        with progress("putting back") as on_progress:
            replay = Replay(
                self._settings,
                selection,
                writer=KafkaChunkWriter(self._settings),
                ends=counted.ends,
                rate=rate,
                on_progress=on_progress,
            )
            try:
                return await replay.run()
            except Outage as outage:
                done = replay.outcome.replayed
                raise MetricStreamsError(
                    f"{done:,} of {counted.messages:,} messages were put back, then {outage}: run it again, "
                    "it goes on with the rest"
                ) from outage

    def _tell_json(self, counted: Plan, outcome: ReplayOutcome, **more: int) -> None:
        if self._as_json:
            told = {"messages": counted.messages, "by_reason": counted.by_reason}
            done = {"replayed": outcome.replayed, "superseded": outcome.superseded, "cut": counted.cut}
            self._say(msgspec.json.encode(told | done | more).decode())


def confirmed(action: str) -> bool:
    """Ask whether to go on.

    Raises:
        MetricStreamsError: nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise MetricStreamsError(f"nobody can be asked here: {action} needs --yes, or --dry-run")
    return click.confirm("Go on?", err=True)


def plan_lines(action: str, counted: Plan) -> Iterator[str]:
    """Yield what a replay or a dismissal would do."""
    verb = "put back" if action == "replay" else "dismiss"
    yield f"{counted.messages:,} messages to {verb}"
    for reason, number in counted.by_reason.most_common():
        yield f"{number:12,}  {reason}"
    if counted.cut:
        yield f"{counted.cut:12,}  cannot be put back: only their beginning was kept"


def outcome_lines(outcome: ReplayOutcome) -> Iterator[str]:
    """Yield what a replay has done."""
    yield f"put back {outcome.replayed:,} messages; what is rejected again shows up with its attempts"
    if outcome.superseded:
        yield f"left out {outcome.superseded:,}: since then they, or a later value of their id, were accepted"


def row(each: Rejected) -> str:
    """Return a message as a line of the table."""
    message = each.message
    rejected_at = datetime.fromtimestamp(message.record.written_ms / 1000, UTC)
    _, agent, metric = message.names
    what = plain(f"{agent}/{metric}" if agent else each.body.topic).replace("\n", r"\n")
    noted = f"{each.attempts} times: " if each.attempts > 1 else ""
    marked = f"({each.mark}) " if each.mark else ""
    known_by = f"{message.coordinate!s:14} {rejected_at:%m-%d %H:%M:%S} {message.reason!s:22}"
    line = f"{known_by} {marked}{noted}{what}"
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def page(each: Rejected) -> str:
    """Return all there is to say about a message."""
    body, message = each.body, each.message
    rejected_at = datetime.fromtimestamp(message.record.written_ms / 1000, UTC)
    lines = {
        "coordinate": str(message.coordinate),
        "reason": f"{message.reason} ({message.stage})",
        "detail": body.detail,
        "rejected": f"{rejected_at:%Y-%m-%dT%H:%M:%SZ}" + (f", {each.attempts} times" if body.first else ""),
        "received": body.received_at,
        "topic": body.topic,
        "payload": payload_text(body) if body.size_bytes is None else f"{payload_text(body)}…",
        "has become": str(each.mark or "nothing yet"),
    }
    if body.first is not None:
        first = body.first
        lines["came first"] = f"{first.partition}-{first.offset}-{first.index}"
    shown = [f"{name:12}{plain(value)}" for name, value in lines.items()]
    return "\n".join([*shown, ""])


def line_of_json(each: Rejected) -> str:
    """Return a message as a line of JSON."""
    return msgspec.json.encode(each.as_dict()).decode()


@contextmanager
def progress(what: str) -> Iterator[OnProgress]:
    """Yield what shows progress on stderr: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield quiet
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda read, total: bar.update(task, completed=read, total=total)
