"""Watches the workers of a storm from outside: how much memory they take, and what their readiness says."""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.faults.fleet import Device
from tests.faults.messages import Known
from tests.faults.pace import pass_time
from tests.faults.stack import Stack

EVERY_S = 1.0
LATE_S, TOLD_WITHIN_S = 30.0, 60.0
"""What is not under way any more after the one must show by the other: faults in between are over, or new."""
PAGE_TIMEOUT_S = 3.0
PARTS_OF = {
    "mosquitto": {"mqtt"},
    "kafka": {"kafka"},
    "redis": {"redis"},
    "postgres": {"postgres"},
}
_RESIDENT = re.compile(r"VmRSS:\s+(\d+) kB")  # proc_pid_status(5)


@dataclass
class Watch:
    """What was seen.

    Attributes:
        largest_mb: the most memory a process took, by its kind.
        down: when some worker's readiness named which parts as down, by the loop's clock.
        samples: each second, by the loop's clock, whether any worker was not ready, and how many messages
            each device had sent by then.
    """

    largest_mb: dict[str, float] = field(default_factory=dict)
    down: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    samples: list[tuple[float, bool, dict[int, int]]] = field(default_factory=list)

    async def run(self, stack: Stack, devices: Sequence[Device]) -> None:
        """Look every second, until cancelled."""
        while True:
            for process in (*stack.workers.alive, *stack.ingests.alive):
                self._measure(process.name.partition("-")[0], process.pid)
            alive = len(stack.workers.alive)
            unready = await self.ready(stack) < alive
            sent = {device.number: len(device.state) for device in devices}
            self.samples.append((asyncio.get_running_loop().time(), unready, sent))
            await pass_time(EVERY_S)

    async def ready(self, stack: Stack) -> int:
        """Ask every worker whether it is ready, and note what it names as down; return how many are."""
        timeout = aiohttp.ClientTimeout(total=PAGE_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            urls = [f"{worker.web_url}/health/ready" for worker in stack.workers.alive]
            return sum(await asyncio.gather(*(self._ask(session, url) for url in urls)))

    def noticed_after_s(self, server: str, began: float, ended: float) -> float | None:
        """Return how long after its begin an outage showed on a readiness page; None if it never did."""
        for at, parts in self.down:
            if began <= at <= ended and parts & PARTS_OF[server]:
                return at - began
        return None

    def told_after_s(self, since: float) -> float | None:
        """Return how long after something some worker was not ready; None if all were for a minute."""
        until = since + TOLD_WITHIN_S
        told = (at - since for at, unready, _ in self.samples if unready and since <= at <= until)
        return next(told, None)

    def swallowed_while_ready(self, missing: Sequence[Known]) -> int:
        """Return how many messages went missing while readiness said all the time that all is well."""
        return sum(not self._was_told(one) for one in missing)

    def _was_told(self, missing: Known) -> bool:
        """Whether some worker was not ready when the message was late, or in the end."""
        sent = (at for at, _, sizes in self.samples if sizes.get(missing.device, 0) > missing.number)
        sent_at = next(sent, math.inf)
        late = (sent_at + LATE_S, sent_at + TOLD_WITHIN_S)
        return self.samples[-1][1] or any(
            unready for at, unready, _ in self.samples if late[0] <= at <= late[1]
        )

    def _measure(self, kind: str, pid: int) -> None:
        try:
            found = _RESIDENT.search(Path(f"/proc/{pid}/status").read_text())
        except OSError:
            return
        if found:
            self.largest_mb[kind] = max(self.largest_mb.get(kind, 0.0), int(found[1]) / 1024)

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> bool:
        try:
            async with session.get(url) as response:
                body = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False
        parts = frozenset(name for name, part in body.get("parts", {}).items() if not part["up"])
        if parts:
            self.down.append((asyncio.get_running_loop().time(), parts))
        return bool(body.get("ready"))
