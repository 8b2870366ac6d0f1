"""``metric-streams trace``: follows one message from the device to its row."""

import sys
from datetime import UTC, datetime

import click
import msgspec
from faust.cli import argument, option
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.browse.coordinate import Coordinate
from streams.commands.base import PlainCommand, command
from streams.commands.selecting import moment
from streams.errors import MetricStreamsError
from streams.logs.plain import plain
from streams.settings import Settings
from streams.tracing.rows import StageRow, rows_of
from streams.tracing.search import search
from streams.tracing.way import follow

DEFAULT_SINCE = "1h"
MOST = 5
"""Messages of one id that are shown: the newest."""
MS_PER_S = 1_000


class TraceCommand(PlainCommand):
    """Its own lines say which part does not answer."""

    abstract = True
    log_level = "CRITICAL"


@command(
    argument("message", metavar="COORDINATE|DEDUPE_ID|JOB_UUID"),
    option(
        "--since",
        default=DEFAULT_SINCE,
        show_default=True,
        help="of an id, how far to look back: 10m, 2h, 7d, or a date",
    ),
    option("--json", "as_json", is_flag=True, help="print JSON, a line for each message"),
    base=TraceCommand,
)
async def trace(self: TraceCommand, message: str, *, since: str, as_json: bool) -> None:
    """Follow one message through every stage to its job and its row.

    A coordinate, as tail shows it, names it at once; an id is looked for. One row for each stage tells when,
    how long after the arrival, and how often it was tried.

    For example: metric-streams trace 3-1841-4
    """
    for at in await places(self.settings, message, since):
        way = await follow(self.settings, at)
        rows = rows_of(way)
        if self.json or as_json:
            self.say(msgspec.json.encode({"coordinate": str(at), "stages": rows}).decode())
        else:
            show(str(way.raw.coordinate if way.raw else at), rows)


async def places(settings: Settings, message: str, since: str) -> list[Coordinate]:
    """Return where the message is, or those that have an id.

    Raises:
        MetricStreamsError: there is none.
    """
    try:
        return [Coordinate.parse(message)]
    except MetricStreamsError:
        since_ms = round(moment(since, datetime.now(UTC)).timestamp() * MS_PER_S)
    click.echo(f"looking for {message} since {since}", err=True)
    found = await search(settings, message, since_ms)
    if not found:
        raise MetricStreamsError(
            f"no message or job {message} since {since}: look further back with --since 7d"
        )
    if len(found) > MOST:
        click.echo(f"{len(found)} messages have this id; the newest {MOST} follow", err=True)
    return found[-MOST:]


def show(title: str, rows: list[StageRow]) -> None:
    """Show the rows of one message."""
    console = Console(highlight=False)
    console.print(Text(f"{title}{_day(rows)}", style="bold cyan"))
    is_retried = any(row.tries > 1 for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in ("stage", "UTC"):
        table.add_column(name, no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    if is_retried:
        table.add_column("tries", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        tries = [str(row.tries)] if is_retried else []
        times = (_time(row.at_ms), _span(row.after_ms))
        table.add_row(row.stage, *times, *tries, Text(plain(row.says)))
    console.print(table)
    sys.stdout.flush()


def _day(rows: list[StageRow]) -> str:
    at_ms = next((row.at_ms for row in rows if row.at_ms is not None), None)
    return "" if at_ms is None else f", on {datetime.fromtimestamp(at_ms // MS_PER_S, UTC):%Y-%m-%d}"


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    return f"{datetime.fromtimestamp(at_ms // MS_PER_S, UTC):%H:%M:%S}.{at_ms % MS_PER_S:03}"


def _span(after_ms: int | None) -> str:
    if after_ms is None:
        return ""
    return f"{after_ms:,} ms" if after_ms < 10 * MS_PER_S else f"{after_ms / MS_PER_S:,.1f} s"
