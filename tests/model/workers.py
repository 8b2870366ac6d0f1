"""One worker's hold on one partition, for refine or for handoff: the real agents behind a gate."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from agents.handoff import Handoff
from agents.refine import Refinery
from streams.counters import Statistics
from streams.errors import Outage, PositionMoved
from streams.kafka.positions import PositionSource
from streams.kafka.record_loop import Record
from streams.laravel.fence_positions import FencePositions
from streams.laravel.replays import Replays
from streams.laravel.testing import FakeJobQueue
from streams.models import Origin
from streams.wire.decision import decode
from streams.wire.headers import EPOCH, FORMAT_HEADER, MESSAGES, REASON, STAGE
from tables.seen_positions import SeenPositions
from tests.model.delivery import Delivery, Log
from tests.model.gate import Gate
from tests.model.history import Decided
from tests.model.ports import GatedRedis, GatedSeen, GatedTenants, GatedTopics

if TYPE_CHECKING:
    from tests.model.world import World

STUCK_AFTER_TURNS = 5_000


class Worker:
    """What both kinds have in common: a task that runs until it is done or stopped at the gate."""

    def __init__(self, world: "World", log: Log, gate: Gate, source: PositionSource) -> None:
        self.world = world
        self.gate = gate
        self.delivery = Delivery(log, source, world.reader)
        self._task: asyncio.Task[None] | None = None

    async def work(self, records: Sequence[Record]) -> None:
        """Do the agent's work on successive records."""
        raise NotImplementedError

    def begin(self) -> None:
        """Note that it begins with something; of what it did before nothing counts."""

    may_linger: bool = True
    """Whether it may live on as a zombie when another one has its partition."""
    may_outlive_a_change = True
    """Whether it may still do so when tenants, time or metrics.raw change."""

    @property
    def is_stopped(self) -> bool:
        """Whether it hangs in the middle of something."""
        return self._task is not None

    @property
    def has_work(self) -> bool:
        return self.is_stopped or not self.is_placed or self.delivery.has_next

    @property
    def is_placed(self) -> bool:
        return self.delivery.at.next_fetch is not None

    @property
    def is_idle(self) -> bool:
        """Whether it is at its position and not in the middle of something."""
        return self.is_placed and not self.is_stopped

    def step(self, stop_after: int | None = None, at_most: int = 1) -> None:
        """Go on, or find the position and take the records there; stop after so many passes of the gate."""
        if self.is_stopped:
            self.gate.arm(stop_after)
            self.gate.open()
            self._run_on()
        else:
            self._run(self._next(at_most), stop_after)

    async def _next(self, at_most: int) -> None:
        if not self.is_placed:
            self.begin()
            await self.delivery.place()
        if self.delivery.has_next:
            await self.delivery.next(self._watch, at_most)

    def fail(self) -> None:
        """Let the call that hangs fail, whether or not it has had its effect; the agent tries again."""
        if self.is_stopped:
            self.gate.open(failing=True)
            self._run_on()

    def audit(self) -> None:
        """Ask for the position anew where the effects no longer say what they said."""
        if self.is_idle and not self.world.run(self.delivery.holds()):
            self.delivery.assigned_anew()

    def stray(self, offset: int) -> None:
        """Hand the agent a record out of order."""
        self._run(self.delivery.hand([offset], self._watch))

    def revoke(self) -> None:
        """Take the partition away; the worker may not know yet, and finish what it is at."""
        self.delivery.revoked = True

    def die(self) -> None:
        """End at once, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            self.world.run(asyncio.wait({self._task}))
            self._task = None

    def _run(self, work: Coroutine[Any, Any, None], stop_after: int | None = None) -> None:
        self.gate.arm(stop_after)
        self._task = self.world.loop.create_task(work)
        self._run_on()

    def _run_on(self) -> None:
        self.world.run(self._until_done_or_stopped())

    async def _until_done_or_stopped(self) -> None:
        task = self._task
        assert task is not None
        for _ in range(STUCK_AFTER_TURNS):
            if task.done():
                self._task = None
                return task.result()
            if self.gate.has_stopped:
                return None
            await asyncio.sleep(0)
        raise AssertionError(f"{self} is stuck: {self.world.history.bugs[:1]}")

    async def _watch(self, records: Sequence[Record]) -> None:
        try:
            await self.work(records)
        except (Outage, PositionMoved):
            raise
        except Exception as bug:
            self.world.history.bugs.append(bug)
            raise


class RefineWorker(Worker):
    """refine on one partition, knowing what the changelog says."""

    def __init__(self, world: "World", partition: int, skew_s: float) -> None:
        gate = Gate()
        self.tenants = GatedTenants(world.tenants, world.tenant_cache, gate)
        window_s = world.settings.dedupe_window_s
        self.seen = GatedSeen(world.changelogs[partition], gate, self._recorded, window_s)
        self.topics = GatedTopics(world.topics, gate)
        self.refinery = Refinery(
            world.settings,
            seen=self.seen,
            tenants=self.tenants,
            emit=self.topics.emit,
            statistics=Statistics(),
            clock=lambda: world.now + world.wall_shift_s + skew_s,
        )
        self._has_recorded = False
        self._began_at = 0
        fences = FakeJobQueue(redis=GatedRedis(world.redis, gate))
        source = SeenPositions(
            self.seen,  # type: ignore[arg-type]  # the fake has all that it asks for
            world.histories,
            Statistics(),
            raw_topic="metrics.raw",
            unique_topic="metrics.unique",
            fence=fences.fence,
        )
        super().__init__(world, world.raw_logs[partition], gate, source)

    async def work(self, records: Sequence[Record]) -> None:
        """Refine, and note that it was tried."""
        self.begin()
        for record in records:
            self.world.history.tries[self.world.history.place(record.partition, record.offset)] += 1
        await self.refinery.refine(records)

    def becomes_an_older_version(self) -> None:
        """Write what 0.1 wrote: decisions of seven fields, records that do not say who wrote them."""
        self.seen.fields, self.topics.headers = 7, frozenset({FORMAT_HEADER, MESSAGES, EPOCH, REASON, STAGE})

    def begin(self) -> None:
        """Note that nothing is recorded yet, and as of when it will decide."""
        self._has_recorded, self._began_at = False, self.world.changes

    @property
    def may_linger(self) -> bool:
        """Whether as a zombie it would decide as its successor does; see `World.circumstances_change`."""
        unchanged = not self.seen.is_dropping and self._began_at == self.world.changes
        return not self.is_stopped or self._has_recorded or unchanged

    @property
    def may_outlive_a_change(self) -> bool:
        """Whether all that is left of what it is at comes after its decision was recorded."""
        return self.is_stopped and self._has_recorded

    def _recorded(self, origin: Origin, row: bytes | None) -> None:
        if row is not None:
            self._has_recorded = not self.seen.left_to_record
            if self.delivery.revoked:
                self.world.contested.add(origin.partition)
            place = self.world.history.place(origin.partition, origin.offset)
            decided = Decided(decode(row), self.tenants.answered)
            self.world.history.decided.setdefault(place, []).append(decided)


class HandoffWorker(Worker):
    """handoff on one partition, believing of the fence what it read last."""

    def __init__(self, world: "World", partition: int) -> None:
        gate = Gate()
        queue = FakeJobQueue(redis=GatedRedis(world.redis, gate))
        statistics = Statistics()
        replays = Replays(world.histories, statistics, "metrics.unique")
        self.handoff = Handoff(queue, replays, topic="metrics.unique", derive_ids=True, statistics=statistics)
        source = FencePositions(
            queue, world.histories, world.reader, replays, statistics, topic="metrics.unique", rewind_s=1e9
        )
        super().__init__(world, world.unique_logs[partition], gate, source)

    async def work(self, records: Sequence[Record]) -> None:
        """Hand off."""
        await self.handoff.hand_off(records)
