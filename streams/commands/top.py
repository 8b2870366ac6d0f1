"""``metric-streams top``: shows what flows, stage by stage, while it flows."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

import aiohttp
import click
import msgspec
from faust.cli import option
from rich.console import Console
from rich.live import Live
from rich.text import Text

from streams.commands.base import PlainCommand, command
from streams.commands.pipe import quiet_pipe
from streams.doctor.pages import ingest_url, worker_url
from streams.errors import MetricStreamsError, worded
from streams.top.sample import Sample, any_of
from streams.top.stages import StageFlow, flow_of, table

TIMEOUT_S = 3.0
OVER_S = 5.0
"""Rates and times are those of so many seconds."""
METRICS = "/metrics"


class TopCommand(PlainCommand):
    """Says itself that a page does not answer."""

    abstract: ClassVar[bool] = True
    log_level: ClassVar[str] = "CRITICAL"


@command(
    option("--url", "urls", multiple=True, help="where a worker or ingest is; repeatable"),
    option("--every", default=1.0, type=click.FloatRange(0.2, 3_600), show_default=True, help="seconds"),
    option("--once", is_flag=True, help="show what flows in one interval, and end"),
    option("--json", "as_json", is_flag=True, help="print JSON lines, as it does into a pipe"),
    base=TopCommand,
)
async def top(self: TopCommand, *, urls: tuple[str, ...], every: float, once: bool, as_json: bool) -> None:
    """Show what flows through each stage: in, out, how soon, and what waits.

    By the pages of the worker and of ingest on this machine, or of those that --url names, added up.

    For example: metric-streams top --url http://10.0.0.7:6066
    """
    settings = self.settings
    pages = [url.rstrip("/") for url in urls] or [worker_url(settings), *filter(None, [ingest_url(settings)])]
    token = settings.web_token.get_secret_value()
    flows = watch(pages, every, token, required=pages if urls else pages[:1], once=once)
    with quiet_pipe():
        if as_json or self.json or not sys.stdout.isatty():
            await write(flows)
        else:
            await show(flows)


async def write(flows: AsyncIterator[StageFlow | str]) -> None:
    """Write what flows as JSON lines."""
    async for flow in flows:
        if isinstance(flow, StageFlow):
            sys.stdout.write(msgspec.json.encode(flow).decode() + "\n")
            sys.stdout.flush()
        else:
            click.echo(flow, err=True)


async def show(flows: AsyncIterator[StageFlow | str]) -> None:
    """Draw in place what flows, or why nobody can tell."""
    with Live(Text("looking ..."), console=Console(highlight=False), auto_refresh=False) as live:
        async for flow in flows:
            live.update(Text(flow, style="bold red") if isinstance(flow, str) else table(flow), refresh=True)


async def watch(
    pages: Sequence[str], every_s: float, token: str, *, required: Sequence[str], once: bool
) -> AsyncIterator[StageFlow | str]:
    """Yield what flows, again and again; where a process is gone meanwhile, that.

    Args:
        pages: where the processes are.
        every_s: seconds between two looks.
        token: that lets us see them; empty where none is asked for.
        required: of those pages, without which there is nothing to show.
        once: yield once.

    Raises:
        MetricStreamsError: a page that is required does not answer at first.
    """
    recent: deque[Sample] = deque()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers=_headers(token)) as session:
        while True:
            try:
                recent.append(await look(session, pages, required))
            except MetricStreamsError as error:
                if not recent or once:
                    raise
                yield str(error)
            else:
                _forget(recent)
                if (before := any_of(list(recent))) is not None:
                    yield flow_of(before, recent[-1])
                    if once:
                        return
            await asyncio.sleep(every_s)


def _forget(recent: deque[Sample]) -> None:
    while len(recent) > 2 and recent[-1].at_s - recent[1].at_s > OVER_S:  # noqa: PLR2004 - two make a rate
        recent.popleft()


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


async def look(session: aiohttp.ClientSession, pages: Sequence[str], required: Sequence[str]) -> Sample:
    """Ask all processes once.

    Raises:
        MetricStreamsError: one that is required does not answer.
    """
    answers = await asyncio.gather(*(_page(session, url) for url in pages))
    sample = Sample(time.monotonic())
    for url, answer in zip(pages, answers, strict=True):
        if isinstance(answer, str):
            sample.add(answer)
        elif url in required:
            why = worded(answer)
            raise MetricStreamsError(
                f"{url}{METRICS} gives no answer ({why}): let --url say where a worker is"
            )
    return sample


async def _page(session: aiohttp.ClientSession, url: str) -> str | Exception:
    """Return a page, or why there is none."""
    try:
        async with session.get(url + METRICS) as answer:
            answer.raise_for_status()
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return error
