"""Runs a plan from begin to end: starts everything, lets the faults happen, waits, and settles accounts."""

import asyncio
import contextlib
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

import asyncpg
from redis.exceptions import RedisError

from streams.mqtt.address import Address
from tests.faults.accounts import Accounts
from tests.faults.bounds import BOUNDS_S
from tests.faults.drains import Drains
from tests.faults.fleet import Device
from tests.faults.injector import Injector, end
from tests.faults.ledger import Ledger
from tests.faults.pace import pass_time
from tests.faults.plan import Plan
from tests.faults.scene import Scene
from tests.faults.stack import Stack, stack
from tests.faults.tap import judge
from tests.faults.watch import Watch

DEVICES = 4
STATUS_EVERY_S, LOOK_EVERY_S = 5.0, 1.0
BROUGHT_BACK_S = 3.0
"""For each time that Kafka goes back, values of so many seconds may: by what refine was behind then."""
CORRECTED_SHARE = 0.2
GIVE_UP_AFTER = 2.5
"""Times the limit: whether it still arrives is worth knowing."""


class Storm:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._watch = Watch()
        self._drains = Drains()

    async def run(self) -> dict[str, Any]:
        """Return the report; its ``ok`` tells whether all guarantees held."""
        self._say(f"seed {self._plan.seed}: {dict(self._plan.counts())}")
        async with AsyncExitStack() as exits:
            made = await exits.enter_async_context(stack(self._say, kinds=set(self._plan.counts())))
            address = Address.parse(f"mqtt://127.0.0.1:{made.links['devices-mosquitto'].port}")
            each = self._plan.rate / DEVICES
            devices = [Device(number, address, made.tenants, each) for number in range(DEVICES)]
            flooded = bytearray()
            accounts = Accounts(made, devices, flooded)
            scene = Scene(made, devices, accounts, self._say, flooded)
            injector = Injector(scene)
            await self._all_ready(made)
            watching = asyncio.create_task(self._watch.run(made, devices))
            looking = asyncio.create_task(self._look(accounts, injector))
            status = asyncio.create_task(self._status(made, accounts, injector))
            publishing = [asyncio.create_task(device.run()) for device in devices]
            try:
                await self._faults(injector)
                drain_s = await self._drain(devices, accounts)
            finally:
                for task in (*publishing, watching, looking, status):
                    await end(task)
            return await self._report(scene, accounts, injector, drain_s)

    async def _faults(self, injector: Injector) -> None:
        least = asyncio.create_task(pass_time(self._plan.least_s))
        injector.on_over = self._drains.fault_over
        await asyncio.gather(least, *(injector.run(lane) for lane in self._plan.lanes.values()))
        await pass_time(self._plan.after_s)

    async def _drain(self, devices: list[Device], accounts: Accounts) -> float:
        """Stop the devices and wait until all is accounted for; return how many seconds that took."""
        self._say("no more faults; draining")
        began = time.monotonic()
        for device in devices:
            device.is_paused = True
        while time.monotonic() - began < GIVE_UP_AFTER * self._drain_limit_s:
            with contextlib.suppress(OSError, asyncpg.PostgresError, RedisError):
                if await accounts.is_settled():
                    break
            await pass_time(1)
        return time.monotonic() - began

    @property
    def _drain_limit_s(self) -> float:
        """What is promised for the slowest of the kinds that happen."""
        limits = [BOUNDS_S[kind] for kind in self._plan.counts()]
        return max(limits) if limits and self._plan.in_bounds else self._plan.drain_limit_s

    async def _look(self, accounts: Accounts, injector: Injector) -> None:
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                rows = await accounts.rows()
                self._drains.look(rows, accounts.rows_due, under_way=injector.under_way)
            await pass_time(LOOK_EVERY_S)

    async def _all_ready(self, made: Stack) -> None:
        """Wait until every worker is ready: before the very first subscription a broker keeps nothing."""
        while not (made.ingests.alive and await self._watch.ready(made) >= made.workers.wanted):
            await pass_time(0.5)

    async def _status(self, made: Stack, accounts: Accounts, injector: Injector) -> None:
        while True:
            rows = -1
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                rows = await accounts.rows()
            memory = {kind: round(size) for kind, size in self._watch.largest_mb.items()}
            self._say(
                f"  rows {rows} of {accounts.rows_due}, workers {len(made.workers.alive)}, "
                f"faults {injector.done.total()} of {self._plan.counts().total()}, MB {memory}"
            )
            await pass_time(STATUS_EVERY_S)

    async def _report(
        self, scene: Scene, accounts: Accounts, injector: Injector, drain_s: float
    ) -> dict[str, Any]:
        made = scene.stack
        ledger = await accounts.ledger()
        pushes = judge(made.tap)
        failed_jobs, queued = await accounts.failed_jobs(), await accounts.queued()
        noticed = {
            f"{server} {ended - began:.0f} s": self._watch.noticed_after_s(server, began, ended)
            for server, began, ended in scene.outages
        }
        told = {what: self._watch.told_after_s(since) for what, since in scene.told}
        swallowed = self._watch.swallowed_while_ready(ledger.missing_ones)
        self._drains.end()
        too_long = self._drains.too_long_s if self._plan.in_bounds else {}
        ok = (
            ledger.adds_up
            and not (swallowed or too_long or None in told.values())
            and all(code == os.EX_CONFIG for code in scene.intruders_ended)
            and not (pushes.doubled or failed_jobs or queued)
            and pushes.due_again == pushes.again
            and ledger.brought_back
            <= BROUGHT_BACK_S * CORRECTED_SHARE * self._plan.rate * injector.done["kafka-set-back"]
            and drain_s <= self._drain_limit_s
            and None not in noticed.values()
        )
        for process in (*made.workers.alive, *made.ingests.alive):
            if not ok:
                self._say(process.log_tail())
        return {
            "seed": self._plan.seed,
            "seconds": round(time.monotonic() - self._began),
            **_numbers(ledger),
            "jobs": pushes.jobs,
            "doubled_jobs": pushes.doubled,
            "jobs_due_again": pushes.due_again,
            "jobs_pushed_again": pushes.again,
            "failed_jobs": failed_jobs,
            "faults": dict(sorted(injector.done.items())),
            "faults_total": injector.done.total(),
            "deaths": {
                point: made.death_row.deaths().count(point) for point in sorted(set(made.death_row.deaths()))
            },
            "ended_by_themselves": made.workers.ended_themselves + made.ingests.ended_themselves,
            "outage_noticed_after_s": {key: value and round(value, 1) for key, value in noticed.items()},
            "cut_told_after_s": {what: value and round(value, 1) for what, value in told.items()},
            "swallowed_while_ready": swallowed,
            "second_groups_ended": scene.intruders_ended,
            "drain_s": round(drain_s, 1),
            "longest_drain_s": {
                kind: round(took, 1) for kind, took in sorted(self._drains.longest_s.items())
            },
            "longer_than_promised": too_long,
            "largest_mb": {kind: round(size) for kind, size in self._watch.largest_mb.items()},
            "ok": ok,
        }

    def _say(self, what: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {what}", file=sys.stderr, flush=True)


def _numbers(ledger: Ledger) -> dict[str, Any]:
    numbers = asdict(ledger)
    del numbers["missing_ones"]
    if not numbers["examples"]:
        del numbers["examples"]
    return numbers
