"""A worker of the model: the real refine and handoff, with their real positions, step by step."""

from collections.abc import Awaitable, Callable

from agents.handoff import Handoff
from agents.loop import Record
from agents.refine import Refinery
from streams.errors import Displaced, Outage
from streams.kafka.positions import LogRange, PositionSource
from streams.queue.fake import FakeJobQueue
from streams.queue.handoff import FencePositions
from streams.settings import Settings
from streams.statistics import Statistics
from tables.seen import SeenPositions
from tests.model.faults import Fault, Strikes
from tests.model.parts import Log, Outside, StruckRedis, StruckSeen, StruckTopics, no_kafka

RAW, UNIQUE = "raw", "unique"
TRIES = 5
Key = tuple[str, int]
"""A topic, `RAW` or `UNIQUE`, and a partition."""


class Worker:
    """What one process knows; all else is outside.

    Attributes:
        at: the offset that comes next, of each topic and partition that it has asked about.
    """

    def __init__(self, outside: Outside, settings: Settings) -> None:
        self.at: dict[Key, int] = {}
        self.strikes = Strikes(no_kafka)
        self._outside = outside
        self._life = outside.raw_life
        self.seen = StruckSeen(outside, self.strikes, settings.dedupe_window_s)
        queue = FakeJobQueue(redis=StruckRedis(outside.redis, self.strikes))
        statistics = Statistics()
        self._refinery = Refinery(
            settings,
            seen=self.seen,
            tenants=outside.tenants,
            emit=StruckTopics(outside, self.strikes).emit,
            statistics=statistics,
            clock=outside.clock,
        )
        self._handoff = Handoff(queue, derive_ids=True, statistics=statistics)
        self._sources: dict[str, PositionSource] = {
            RAW: SeenPositions(self.seen),  # type: ignore[arg-type] # the fake has what it asks for
            UNIQUE: FencePositions(queue, self._raw_end),
        }
        self._work: dict[str, Callable[[Record], Awaitable[None]]] = {
            RAW: self._refinery.refine,
            UNIQUE: self._handoff.hand_off,
        }
        self._proven: set[Key] = set()
        self._unique_topic = settings.unique_topic

    async def step(self, key: Key, fault: Fault | None) -> bool:
        """Take the next record of a partition to its end; return False if there is none.

        Raises:
            CrashError: the fault has ended the process.
        """
        self.strikes.expect(fault)
        if self._life != self._outside.raw_life:
            # The consumer delivers what lies behind the cursors, and asks for the positions anew.
            self._life = self._outside.raw_life
            self.at = {key: at for key, at in self.at.items() if key[0] != RAW}
        for _ in range(TRIES):
            try:
                return await self._try(key)
            except Outage:
                continue  # the loop tries again: the fault strikes once
            except Displaced:
                self.at.pop(key, None)
        raise AssertionError(f"no end to the work on {key}")

    async def _try(self, key: Key) -> bool:
        topic, partition = key
        log = self.log(key)
        if key not in self.at:
            self.at[key] = await self._sources[topic].position(
                partition, LogRange(0, len(log)), self._outside.committed.get(key)
            )
            if self._sources[topic].proven:
                self._proven.add(key)
            else:
                self._proven.discard(key)
        at = self.at[key]
        if at >= len(log):
            return False
        await self._work[topic](Record(partition, at, log[at].value, log[at].headers))
        if self.at.get(key) == at:
            self.at[key] = at + 1
            self._outside.committed[key] = at + 1
        return True

    def log(self, key: Key) -> Log:
        """Return a partition's records."""
        topic, partition = key
        if topic == RAW:
            return self._outside.raw[partition]
        return self._outside.topics[self._unique_topic, partition]

    async def _raw_end(self, partition: int, _beyond: int) -> int:
        return len(self._outside.raw[partition])
