"""``metric-streams devices``: which devices send, and which fell silent."""

import heapq
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from faust.cli import argument, option

from streams.commands.base import PlainCommand, command
from streams.commands.selecting import duration_s
from streams.last_seen.reading import DeviceFilter, read_devices
from streams.logs.plain import plain
from streams.wire.devices import DeviceSeen

WIDTH = 80


@command(
    argument("action", type=click.Choice(["list"]), default="list"),
    option("--silent-for", help="only those that have been silent for 30s, 10m, 2h, 7d"),
    option("--heard-within", help="only those that sent within that time"),
    option("--tenant", "tenants", multiple=True, help="a glob; repeatable"),
    option("--agent", "agents", multiple=True, help="a glob: 'edge-*'; repeatable"),
    option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="at most so many"),
    option("--json", "as_json", is_flag=True, help="print JSON: a line for each device"),
)
async def devices(
    self: PlainCommand,
    action: str,  # noqa: ARG001 - there is one
    *,
    silent_for: str | None,
    heard_within: str | None,
    tenants: tuple[str, ...],
    agents: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """List when devices were heard last; those first that have been silent for longest.

    The time may be late by some seconds, with very many devices by a minute, and the counts are approximate.

    Example: metric-streams devices list --silent-for 10m --agent 'edge-*'
    """
    now = time.time()
    wanted = DeviceFilter(tenants, agents, _ago(silent_for, now), _ago(heard_within, now))
    longest: list[tuple[float, int, DeviceSeen]] = []
    total = 0
    async for device in read_devices(self.settings, wanted):
        total += 1
        heapq.heappush(longest, (-device.last, total, device))
        if len(longest) > limit:
            heapq.heappop(longest)
    found = [device for *_, device in sorted(longest, reverse=True)]
    if as_json or self.json:
        for device in found:
            self.say(msgspec.json.encode(as_dict(device, now)).decode())
        return
    for line in shown(found, now, total):
        self.say(line)


def _ago(text: str | None, now: float) -> float | None:
    return None if text is None else now - duration_s(text)


def as_dict(device: DeviceSeen, now: float) -> dict[str, Any]:
    """Return a device as JSON shows it."""
    return {
        "tenant_id": device.tenant_id,
        "agent_id": device.agent_id,
        "last": f"{datetime.fromtimestamp(device.last, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "silent_s": round(max(0.0, now - device.last), 1),
        "messages": device.messages,
        "rejected": device.rejected,
    }


def shown(found: Sequence[DeviceSeen], now: float, total: int) -> list[str]:
    """Return a table for a person."""
    if not found:
        return ["no device is known that matches"]
    lines = [f"{'SILENT':>9} {'MESSAGES':>11} {'REJECTED':>8}  TENANT/AGENT"]
    for device in found:
        share = 100 * device.rejected / max(1, device.messages)
        name = plain(device.name).replace("\n", r"\n")
        line = f"{_age(now - device.last):>9} {device.messages:>11,} {share:>7.1f}%  {name}"
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")
    if total > len(found):
        lines.append(f"These are {len(found)} of {total:,}; --limit shows more.")
    return lines


def _age(seconds: float) -> str:
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
