"""What the page asks of the rejected messages and of the devices, done in a process of its own.

Between the worker's page (`streams.dashboard.tasks`, which starts it) and `streams.rejections`. A search may
read millions of messages: in the worker it would hold up the event loop. It is handed one line of JSON on
stdin, and answers with lines of JSON on stdout; once stdin ends it stops, so it never outlives the worker.

    {"settings": {"broker_url": "kafka://…", …}, "does": "list", "selection": {"reasons": ["value_missing"]}}
    {"progress": [200, 1841]}
    {"done": {"messages": […], "counted": 1000, "by_reason": {"value_missing": 1000}}}
"""

import asyncio
import heapq
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from itertools import count
from time import monotonic, time
from typing import Any

import msgspec

from streams.browse.messages import payload_text
from streams.commands.selecting import filter_of, span_of
from streams.errors import MetricStreamsError
from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.last_seen.reading import DeviceFilter, read_devices
from streams.rejections.listing import Rejected, Selection, rejections
from streams.rejections.replay import Replay, dismiss, plan
from streams.settings import Settings
from streams.wire.devices import DeviceSeen

NICE = 5
"""The worker comes first."""
PROGRESS_EVERY_S = 0.25
SHOWN_CHARACTERS = 4_000
MOST_LISTED = 500


class Chosen(msgspec.Struct, frozen=True):
    """Which rejected messages are meant, as the page says it."""

    reasons: list[str] = []
    tenant: str = ""
    """A glob, as are agent and metric."""
    agent: str = ""
    metric: str = ""
    since: str = ""
    """So long ago, ``2h``, or RFC 3339."""
    until: str = ""
    text: str = ""
    coordinates: list[str] = []
    hidden: bool = False
    """Also what was put back or dismissed."""

    def selection(self) -> Selection:
        """Return what `streams.rejections` takes.

        Raises:
            MetricStreamsError: a time, a reason or a coordinate is none.
        """
        wanted = filter_of(
            tenants=[self.tenant] if self.tenant else [],
            agents=[self.agent] if self.agent else [],
            metrics=[self.metric] if self.metric else [],
            reasons=self.reasons,
            text=self.text,
            coordinates=self.coordinates,
        )
        span = span_of(self.since or None, self.until or None, datetime.now(UTC))
        return Selection(wanted, span, self.hidden)


class Task(msgspec.Struct, frozen=True):
    """What is to be done."""

    does: str
    """``list``, ``plan``, ``replay``, ``dismiss`` or ``devices``."""
    chosen: Chosen = Chosen()
    limit: int = 100
    """list: so many of the newest."""
    ends: dict[int, int] | None = None
    """replay, dismiss: what came later than the count is not meant."""
    rate: float | None = None
    """replay: messages a second at most."""
    silent_s: float = 0.0
    """devices: only those that were not heard for so long."""


class Order(msgspec.Struct, frozen=True):
    """The line on stdin."""

    settings: dict[str, Any]
    task: Task


class _Telling:
    """Tells on stdout how far it has come, now and then."""

    def __init__(self) -> None:
        self._told_at = 0.0

    def __call__(self, read: int, total: int) -> None:
        now = monotonic()
        # A line for each record would cost more than to read it.
        if now - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = now
            tell({"progress": [read, total]})


def tell(line: object) -> None:
    """Write a line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    # A pipe is buffered by the block: the page would see nothing for minutes.
    sys.stdout.buffer.flush()


async def listed(settings: Settings, task: Task) -> dict[str, Any]:
    """Return the newest messages that are meant, and how many there are by reason."""
    kept: list[tuple[int, int, Rejected]] = []
    order, by_reason = count(), Counter[str]()
    found = rejections(settings, task.chosen.selection(), on_progress=_Telling())
    async with aclosing(found) as messages:
        async for each in messages:
            by_reason[str(each.message.reason)] += 1
            # With a number between them, since two of one time would be compared by the message.
            entry = (each.message.record.written_ms, next(order), each)
            if len(kept) < min(task.limit, MOST_LISTED):
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
    newest = [shown(each) for _, _, each in sorted(kept, reverse=True)]
    return {"messages": newest, "counted": by_reason.total(), "by_reason": by_reason}


def shown(rejected: Rejected) -> dict[str, Any]:
    """Return a message as the page shows it, a long payload cut."""
    body, message = rejected.body, rejected.message
    tenant, agent, metric = message.names
    payload = payload_text(body)
    return {
        "coordinate": str(message.coordinate),
        "rejected_at": message.record.written_ms / 1000,
        "received_at": body.received_at,
        "stage": message.stage,
        "reason": message.reason,
        "detail": body.detail,
        "topic": body.topic,
        "tenant": tenant,
        "agent": agent,
        "metric": metric,
        "payload": payload[:SHOWN_CHARACTERS],
        "is_cut": body.size_bytes is not None or len(payload) > SHOWN_CHARACTERS,
        "can_replay": body.size_bytes is None and bool(body.topic),
        "attempts": rejected.attempts,
        "mark": rejected.mark,
    }


async def planned(settings: Settings, task: Task) -> dict[str, Any]:
    """Return how many would be put back, and up to where that was counted."""
    made = await plan(settings, task.chosen.selection(), on_progress=_Telling())
    return {"messages": made.messages, "by_reason": made.by_reason, "cut": made.cut, "ends": made.ends}


async def replayed(settings: Settings, task: Task) -> dict[str, Any]:
    """Put the messages back; return how many."""
    replay = Replay(
        settings,
        task.chosen.selection(),
        writer=KafkaChunkWriter(settings),
        ends=task.ends,
        rate=task.rate,
        on_progress=_Telling(),
    )
    outcome = await replay.run()
    return {"replayed": outcome.replayed, "superseded": outcome.superseded, "cut": outcome.cut}


async def dismissed(settings: Settings, task: Task) -> dict[str, Any]:
    """Dismiss the messages; return how many."""
    done = await dismiss(settings, task.chosen.selection(), ends=task.ends, on_progress=_Telling())
    return {"dismissed": done}


async def devices(settings: Settings, task: Task) -> dict[str, Any]:
    """Return the devices that were silent for longest, and how many there are in all."""
    now, chosen = time(), task.chosen
    wanted = DeviceFilter(
        (chosen.tenant,) if chosen.tenant else (),
        (chosen.agent,) if chosen.agent else (),
        silent_since=now - task.silent_s if task.silent_s else None,
    )
    kept: list[tuple[float, int, DeviceSeen]] = []
    counted = 0
    async with aclosing(read_devices(settings, wanted)) as found:
        async for device in found:
            counted += 1
            heapq.heappush(kept, (-device.last, counted, device))
            if len(kept) > min(task.limit, MOST_LISTED):
                heapq.heappop(kept)
    longest = [device for *_, device in sorted(kept, reverse=True)]
    return {
        "counted": counted,
        "devices": [
            {
                "tenant": device.tenant_id,
                "agent": device.agent_id,
                "last": device.last,
                "messages": device.messages,
                "rejected": device.rejected,
            }
            for device in longest
        ],
    }


DOES: dict[str, Callable[[Settings, Task], Awaitable[dict[str, Any]]]] = {
    "list": listed,
    "plan": planned,
    "replay": replayed,
    "dismiss": dismissed,
    "devices": devices,
}


async def carry_out(order: Order) -> None:
    """Do what is ordered and tell the outcome, or why there is none."""
    settings = Settings(**order.settings)
    try:
        tell({"done": await DOES[order.task.does](settings, order.task)})
    except MetricStreamsError as error:
        tell({"error": str(error)})


async def _until_stdin_ends() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def _run(order: Order) -> None:
    work = asyncio.ensure_future(carry_out(order))
    ended = asyncio.create_task(_until_stdin_ends())
    await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work


def main() -> None:
    """Read the order, and carry it out."""
    with suppress(OSError):
        os.nice(NICE)
    asyncio.run(_run(msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)))
