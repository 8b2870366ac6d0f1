"""Makes each fault of a plan happen to a stack, and mends it again."""

import asyncio
import contextlib
import shutil
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import redis.asyncio as redis_client
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.settings import Settings
from streams.topics import topic_specs
from tests.faults.fleet import Device
from tests.faults.flood import flood
from tests.faults.killable import Point
from tests.faults.pace import pass_time
from tests.faults.plan import Fault, Step
from tests.faults.stack import FENCE, GROUP, PARTITIONS, SLOTS, TOPICS, Crew, Hears, Mortal, Stack
from tests.parts.process import Part
from tests.parts.topics import group_lag

LINKS_OF = {"redis": ("worker-redis", "ingest-redis")}
QUIET_TIMEOUT_S = 240.0
SNAPSHOT = "snapshot.rdb"
RAW = topic_specs(Settings.from_mapping({"TOPIC_PARTITIONS": str(PARTITIONS)}))[0]


class Accounts(Protocol):
    """Knows whether all that was sent has arrived."""

    async def is_settled(self) -> bool:
        """Return whether every acknowledged message has landed or was rejected."""
        ...


class Gate:
    """Lets faults happen side by side, but one that needs quiet alone."""

    def __init__(self) -> None:
        self._inside = 0
        self._is_closed = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Pass beside others."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_closed)
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Pass when all others are through, and keep them out."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_closed)
            self._is_closed = True
            await self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            async with self._changed:
                self._is_closed = False
                self._changed.notify_all()


class Injector:
    """Carries out a plan.

    Attributes:
        done: how often each kind of fault has happened.
        flooded: malformed messages of the floods, 0, `SENT` or `ACKED`.
        outages: of each full outage, the server and the loop's time of begin and end.
        under_way: what is happening now.
        on_over: called at the end of each fault.
    """

    def __init__(
        self, stack: Stack, devices: Sequence[Device], accounts: Accounts, say: Hears, flooded: bytearray
    ) -> None:
        self.done: Counter[str] = Counter()
        self.flooded = flooded
        self.on_over: Callable[[], None] = lambda: None
        self.outages: list[tuple[str, float, float]] = []
        self.under_way: list[Fault] = []
        self._stack = stack
        self._devices = devices
        self._accounts = accounts
        self._say = say
        self._gate = Gate()
        self._locks = {name: asyncio.Lock() for name in stack.servers}
        self._kinds: dict[str, Callable[[Fault], Awaitable[bool | None]]] = {
            "die-at": self._die_at,
            "kill": self._kill,
            "stop": self._stop,
            "freeze": self._freeze,
            "join": self._join,
            "leave": self._leave,
            "cut": self._cut,
            "stall": self._stall,
            "slow": self._slow,
            "restart": self._restart,
            "crash": self._crash,
            "slow-postgres": self._slow_postgres,
            "flood": self._flood,
            "rebalance-without": self._rebalance_without,
            "outage": self._outage,
            "redis-set-back": self._set_redis_back,
            "raw-recreated": self._recreate_raw,
        }

    async def run(self, lane: Sequence[Step]) -> None:
        """Let the faults of one lane happen; one that cannot happen now is tried again behind the others."""
        steps = deque(lane)
        while steps:
            step = steps.popleft()
            await pass_time(step.calm_s)
            needs_quiet = step.fault.kind == "raw-recreated"
            async with self._gate.alone() if needs_quiet else self._gate.shared():
                if not await self._happen(step.fault):
                    steps.append(step)

    async def _happen(self, fault: Fault) -> bool:
        """Return whether the fault has happened."""
        if self._is_away(fault.target):
            return False
        self._say(f"▼ {fault}")
        self.under_way.append(fault)
        try:
            happened = await self._kinds[fault.kind](fault)
        finally:
            self.under_way.remove(fault)
        if happened is False:
            self._say(f"△ {fault}: later")
            return False
        self.done[fault.kind] += 1
        self.on_over()
        self._say(f"▲ {fault}")
        return True

    def _is_away(self, target: str) -> bool:
        """Tell whether what a fault is about is in a long outage already."""
        return any(lock.locked() and name in target for name, lock in self._locks.items())

    # --- our own processes

    def _crew(self, fault: Fault) -> Crew:
        return self._stack.ingests if fault.target == "ingest" else self._stack.workers

    @asynccontextmanager
    async def _somebody(self, crew: Crew) -> AsyncIterator[Mortal]:
        """Take a process that runs; the first one, which often leads."""
        while not crew.running:
            await pass_time(0.2)
        async with crew.take(crew.running[0]) as slot:
            yield slot

    async def _die_at(self, fault: Fault) -> bool:
        point, deaths = Point(fault.target), self._stack.death_row.deaths
        before = deaths().count(point)
        self._stack.death_row.ask(point)
        loop = asyncio.get_running_loop()
        end = loop.time() + fault.seconds
        while deaths().count(point) == before and loop.time() < end:
            await pass_time(0.1)
        return deaths().count(point) > before or not self._stack.death_row.withdraw(point)

    async def _kill(self, fault: Fault) -> None:
        async with self._somebody(self._crew(fault)) as slot:
            await asyncio.to_thread(slot.kill)

    async def _stop(self, fault: Fault) -> None:
        async with self._somebody(self._crew(fault)) as slot:
            await asyncio.to_thread(slot.stop)

    async def _freeze(self, fault: Fault) -> None:
        async with self._somebody(self._crew(fault)) as slot:
            slot.pause()
            try:
                await pass_time(fault.seconds)
            finally:
                slot.resume()

    async def _join(self, _fault: Fault) -> None:
        workers = self._stack.workers
        workers.wanted = min(SLOTS, workers.wanted + 1)

    async def _leave(self, _fault: Fault) -> None:
        workers = self._stack.workers
        async with self._somebody(workers) as slot:
            workers.wanted = max(2, workers.wanted - 1)
            await asyncio.to_thread(slot.stop)

    # --- links

    async def _cut(self, fault: Fault) -> None:
        link = self._stack.links[fault.target]
        link.cut()
        await pass_time(fault.seconds)
        link.heal()

    async def _stall(self, fault: Fault) -> None:
        link = self._stack.links[fault.target]
        link.stall()
        await pass_time(fault.seconds)
        link.heal()

    async def _slow(self, fault: Fault) -> None:
        link = self._stack.links[fault.target]
        link.delay_s = 0.3
        await pass_time(fault.seconds)
        link.heal()

    async def _slow_postgres(self, fault: Fault) -> None:
        """Let every answer take 2 s."""
        links = [self._stack.links[name] for name in ("worker-postgres", "ingest-postgres")]
        for link in links:
            link.delay_s = 2.0
        await pass_time(fault.seconds)
        for link in links:
            link.heal()

    # --- servers

    @asynccontextmanager
    async def _down(self, name: str, *, crash: bool) -> AsyncIterator[Part]:
        """Take a server away; nobody may reach a Redis that came back before the tap watches it."""
        server, links = (
            self._stack.servers[name],
            [self._stack.links[link] for link in LINKS_OF.get(name, ())],
        )
        async with self._locks[name]:
            for link in links:
                link.cut()
            await asyncio.to_thread(server.kill if crash else server.stop)
            try:
                yield server
            finally:
                await asyncio.to_thread(server.start)
                if name == "redis":
                    await self._tap_redis()
                for link in links:
                    link.heal()

    async def _tap_redis(self) -> None:
        # The tap notices a lost connection within an instant, and a new server answers only after its start.
        await pass_time(0.1)
        await self._stack.tap_attached.wait()

    async def _restart(self, fault: Fault) -> None:
        async with self._down(fault.target, crash=False):
            pass

    async def _crash(self, fault: Fault) -> None:
        async with self._down(fault.target, crash=True):
            pass

    async def _outage(self, fault: Fault) -> None:
        await asyncio.gather(*(self._one_outage(name, fault.seconds) for name in fault.target.split("+")))

    async def _one_outage(self, name: str, seconds: float) -> None:
        now = asyncio.get_running_loop().time
        # Mosquitto forgets on a crash what it has not saved, as its documentation says.
        async with self._down(name, crash=name != "mosquitto" and len(self.outages) % 2 == 1):
            began = now()
            await pass_time(seconds)
            self.outages.append((name, began, now()))

    async def _rebalance_without(self, fault: Fault) -> None:
        async with self._down(fault.target, crash=False):
            await pass_time(1)
            async with self._somebody(self._stack.workers) as slot:
                await asyncio.to_thread(slot.kill)
            await pass_time(fault.seconds + 8)

    async def _flood(self, fault: Fault) -> None:
        self.flooded += await flood(
            self._stack.servers["mosquitto"].port, self._stack.tenants[0], len(self.flooded), fault.seconds
        )

    async def _set_redis_back(self, fault: Fault) -> None:
        """Let Redis come back with what it held some time ago."""
        server = self._stack.redis
        async with self._locks["redis"]:
            async with redis_client.from_url(server.url) as client:
                await client.save()
            shutil.copy(server.directory / "dump.rdb", server.directory / SNAPSHOT)
        await pass_time(fault.seconds)
        async with self._down("redis", crash=True):
            shutil.rmtree(server.directory / "appendonlydir")
            # An append-only file may begin with a snapshot; alone, and under this name, it is taken over.
            shutil.copy(server.directory / SNAPSHOT, server.directory / "appendonly.aof")
            await asyncio.to_thread(server.start)
            await self._tap_redis()
            fences = await self._fences()
            self._stack.tap.set_back(fences)
            self._say(f"Redis is set back to {fences}")

    async def _fences(self) -> dict[int, tuple[int, int]]:
        async with redis_client.from_url(self._stack.redis.url) as client:
            found = await client.hgetall(FENCE)
        parts = {int(partition): fence.split(b":") for partition, fence in found.items()}
        return {partition: (int(part[0]), int(part[1])) for partition, part in parts.items()}

    async def _recreate_raw(self, _fault: Fault) -> None:
        """Delete metrics.raw and make it again, when all that it holds has been taken further."""
        for device in self._devices:
            device.is_paused = True
        try:
            async with asyncio.timeout(QUIET_TIMEOUT_S):
                while not (await self._accounts.is_settled() and not await self._lag()):
                    await pass_time(0.5)
            await self._delete_and_create()
        finally:
            for device in self._devices:
                device.is_paused = False

    async def _lag(self) -> int:
        return await group_lag(self._stack.bootstrap, GROUP, [f"{TOPICS}.raw", f"{TOPICS}.unique"])

    async def _delete_and_create(self) -> None:
        """As fast as Kafka lets us: a worker that does not notice must not take the new log for the old."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._stack.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics([RAW.name])
            new = NewTopic(RAW.name, RAW.partitions, RAW.replication_factor, topic_configs=RAW.configs)
            while (await admin.create_topics([new])).topic_errors[0][1]:
                await pass_time(0.05)
        finally:
            await admin.close()


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for it."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
