"""``metric-streams tail``: shows the messages of a topic as they come."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, ClassVar

import click
import msgspec
from faust.cli import argument, option
from rich.console import Console
from rich.padding import Padding

from streams.browse.lines import INDENT, shown
from streams.browse.messages import Browsed, TopicKind
from streams.browse.reader import Range, follow_messages, scan_messages
from streams.commands.base import PlainCommand, command
from streams.commands.pipe import quiet_pipe
from streams.commands.selecting import filter_of, span_of
from streams.errors import BadArgument
from streams.models import Reason

Show = Callable[[Browsed], None]


class TailCommand(PlainCommand):
    """Its own lines say what the libraries would log of a Kafka that goes away."""

    abstract: ClassVar[bool] = True
    log_level: ClassVar[str] = "CRITICAL"


def glob(name: str, of: str) -> option:
    """Return an option that names some of what is shown."""
    return option(f"--{name}", f"{name}s", multiple=True, help=f"only of this {of}; * and ? stand for others")


@command(
    argument("topic", type=click.Choice([kind.value for kind in TopicKind]), default=TopicKind.RAW.value),
    glob("tenant", "tenant"),
    glob("agent", "device"),
    glob("metric", "metric"),
    option(
        "--reason",
        "reasons",
        type=click.Choice([reason.value for reason in Reason]),
        metavar="REASON",
        multiple=True,
        help="of rejected: only this; repeatable",
    ),
    option("--text", default="", help="only with this in topic, payload or detail"),
    option("--since", help="begin earlier than now: 10m, 2h, 7d, or 2026-11-23T14:00:00Z"),
    option("--once", is_flag=True, help="end with what is there, instead of waiting for more"),
    option("--json", "as_json", is_flag=True, help="print JSON lines, as it does into a pipe"),
    base=TailCommand,
)
async def tail(
    self: TailCommand,
    topic: str,
    *,
    tenants: tuple[str, ...],
    agents: tuple[str, ...],
    metrics: tuple[str, ...],
    reasons: tuple[str, ...],
    text: str,
    since: str | None,
    once: bool,
    as_json: bool,
) -> None:
    """Show the messages of raw, unique or rejected as they come; in a pipe as JSON lines.

    Each with its coordinate, by which metric-streams trace follows it. Names may be given as globs, and each
    option several times.

    For example: metric-streams tail rejected --agent 'edge-*' | jq .detail
    """
    kind = TopicKind(topic)
    if reasons and kind is not TopicKind.REJECTED:
        raise BadArgument(f"--reason goes with rejected alone: nothing on {topic} has one")
    wanted = filter_of(tenants=tenants, agents=agents, metrics=metrics, reasons=reasons, text=text)
    span = begin(since, once=once)
    show = printer(as_json=as_json or bool(self.json) or not sys.stdout.isatty())
    settings = self.settings
    click.echo(notice(f"{settings.topic_prefix}.{kind}", since, once=once), err=True)
    messages = (
        scan_messages(settings, kind, wanted, span)
        if once
        else follow_messages(settings, [kind], wanted, span)
    )
    with quiet_pipe():
        async with aclosing(messages):
            await show_all(messages, show)


async def show_all(messages: AsyncIterator[Browsed], show: Show) -> None:
    """Show messages as they come."""
    async for message in messages:
        show(message)


def begin(since: str | None, *, once: bool) -> Range:
    """Return where to begin: at a time, or now; with `once` at the beginning."""
    if since is not None:
        return span_of(since, None, datetime.now(UTC))
    return Range() if once else Range(newest=0)


def notice(name: str, since: str | None, *, once: bool) -> str:
    """Return what is said before anything is shown."""
    begin = f"since {since}" if since else "from the beginning" if once else "from now on"
    end = "up to now" if once else "Ctrl+C ends it"
    return f"{name} {begin}; {end}. Times are UTC"


def printer(*, as_json: bool) -> Show:
    """Return what shows a message: a line for a person, or JSON."""
    if as_json:
        return _print_json
    console = Console(highlight=False)

    def show(message: Browsed) -> None:
        line, why, payload = shown(message)
        console.print(line, no_wrap=True, overflow="ellipsis")
        if why is not None:
            console.print(Padding(why, (0, 0, 0, INDENT)))
        if payload is not None:
            console.print(Padding(payload, (0, 0, 0, INDENT)), no_wrap=True, overflow="ellipsis")

    return show


def _print_json(message: Browsed) -> None:
    shown: dict[str, Any] = message.as_dict()
    sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
    sys.stdout.flush()
