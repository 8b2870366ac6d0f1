"""The shared outside of the model and the workers that are in it now."""

import asyncio
from collections.abc import Coroutine, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any, TypeVar

from faust.types import TP

from streams.database.tenant_cache import TenantCache
from streams.database.tenants import FakeTenants
from streams.ingress.testing import FakeRawRecord
from streams.kafka.histories import Histories
from streams.kafka.log_reader import FakeLogReader, LogRecord
from streams.kafka.testing import FakeTopics
from streams.laravel.testing import FakeRedis
from streams.mqtt.testing import FakeTransport
from streams.settings import Settings
from streams.wire import rejected
from tables.testing import Row
from tests.model.delivery import Held, Log
from tests.model.devices import PARTITIONS, SETTLED, Publication
from tests.model.history import History
from tests.model.ingress import IngressProcess
from tests.model.workers import HandoffWorker, RefineWorker, Worker

T = TypeVar("T")

ROUNDS_TO_CARRY = 500

BEGINNING = 1_700_000_000.0
TURNS_TO_SETTLE = 20
"""Turns of the event loop after which ingress has done all that it can without Kafka."""


class Agent(Enum):
    """The agents that work on partitions."""

    REFINE = auto()
    HANDOFF = auto()


class World:
    """Broker, Kafka, Redis, tenants and clock; and of each agent the worker that holds a partition."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.now = BEGINNING
        self.wall_shift_s = 0.0
        """From time as it passes to what clocks say."""
        self.changes = 0
        """Of tenants, of time, of metrics.raw: whatever may make a zombie decide otherwise."""
        self._arrivals = 0
        self.settings = Settings(
            topic_partitions=PARTITIONS,
            # A clock that stands still makes no chunk due: one is cut from what has come by then.
            chunk_linger_ms=0.0,
            chunk_max_messages=3,
            mqtt_receive_maximum=6,
        )
        self.history = History()
        self.broker = FakeTransport(receive_maximum=6, clock_ns=self._arrival_ns)
        self.raw: list[FakeRawRecord] = []
        self.topics = FakeTopics()
        self.tenants = FakeTenants(SETTLED)
        # One for all workers: each asks for itself in truth, which only lets them differ for longer.
        self.tenant_cache = TenantCache(known_s=60.0, unknown_s=5.0, clock=lambda: self.now)
        self.redis = FakeRedis()
        self.changelogs: list[list[Row]] = [[] for _ in range(PARTITIONS)]
        self.reader = FakeLogReader(self._log_records)
        self.histories = Histories(self.reader, raw_topic="metrics.raw", unique_topic="metrics.unique")
        self.raw_logs = [Log(self._tp("raw", p), partial(self._raw, p)) for p in range(PARTITIONS)]
        self.unique_logs = [Log(self._tp("unique", p), partial(self._unique, p)) for p in range(PARTITIONS)]
        self.ingress = IngressProcess(self)
        self.past_ingress: list[IngressProcess] = []
        self.refine = [RefineWorker(self, p, 0.0) for p in range(PARTITIONS)]
        self.handoff = [HandoffWorker(self, p) for p in range(PARTITIONS)]
        self.contested: set[int] = set()
        """Partitions for which a zombie has recorded a decision that their owner may not know of."""
        self._zombies: dict[tuple[Agent, int], Worker] = {}
        self.ingress.start()

    # --- The event loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def breathe(self) -> None:
        """Let all that can go on go on."""
        self.run(_turns(TURNS_TO_SETTLE))

    def close(self) -> None:
        self.zombies_die()
        for worker in [*self.refine, *self.handoff]:
            worker.die()
        for process in [*self.past_ingress, self.ingress]:
            process.close()
        self.loop.close()

    # --- Devices

    def publish(self, publication: Publication) -> None:
        payload = publication.payload(len(self.history.published))
        self.history.published.append((publication, payload))
        self.run(_at_once(partial(self.broker.publish, publication.topic(), payload)))

    def carry(self) -> None:
        """Let all that the broker has reach metrics.raw."""
        for _ in range(ROUNDS_TO_CARRY):
            self.breathe()
            if not self.broker.waiting:
                return
            while self.ingress.writer.held:
                self.ingress.writer.release()

    # --- Workers that die or lose their partition

    def replace_ingress(self, *, dead: bool) -> None:
        """Let another process carry, because the one before has died, or without it knowing."""
        if dead:
            self.ingress.die()
        self.ingress.cease_to_lead()
        self.past_ingress.append(self.ingress)
        self.ingress = IngressProcess(self)
        self.ingress.start()

    def workers(self, agent: Agent) -> Sequence[Worker]:
        """Return the workers that hold an agent's partitions."""
        return self.refine if agent is Agent.REFINE else self.handoff

    def succeed(self, agent: Agent, partition: int, skew_s: float) -> Worker:
        """Give a partition to a new worker, whose clock is wrong by so much; return the one before."""
        old: Worker
        if agent is Agent.REFINE:
            old, self.refine[partition] = self.refine[partition], RefineWorker(self, partition, skew_s)
        else:
            old, self.handoff[partition] = self.handoff[partition], HandoffWorker(self, partition)
        return old

    def replace(self, agent: Agent, partition: int, skew_s: float) -> None:
        """Give a partition to another worker without the old one knowing; the zombie before it ends."""
        self._bury((agent, partition))
        old = self.succeed(agent, partition, skew_s)
        if old.may_linger:
            old.revoke()
            self._zombies[agent, partition] = old
        else:
            old.die()

    def busy(self, agent: Agent) -> list[int]:
        """Return the partitions on which an agent has something to do."""
        return [partition for partition, worker in enumerate(self.workers(agent)) if worker.has_work]

    def busy_zombies(self) -> list[tuple[Agent, int]]:
        """Return the zombies that have something left to do."""
        return [
            held
            for held, zombie in self._zombies.items()
            if zombie.is_stopped or (zombie.is_placed and zombie.delivery.has_next)
        ]

    def zombie_goes_on(self, agent: Agent, partition: int, stop_after: int, at_most: int) -> None:
        """Let a zombie bring to an end what it is at, or take the next records once more."""
        zombie = self._zombies[agent, partition]
        zombie.step(stop_after, at_most)
        if not zombie.is_stopped and agent is Agent.REFINE:
            self._bury((agent, partition))

    def zombies_die(self) -> None:
        for held in list(self._zombies):
            self._bury(held)

    def circumstances_change(self) -> None:
        """Let nobody decide on a chunk now who would decide otherwise than another has.

        Those are zombies that have not decided yet, and owners that do not know what a zombie has decided
        since they took over. Kafka keeps both decisions, and jobs follow the one that was emitted first:
        this is the one case in which state and jobs may part.
        """
        self.changes += 1
        for held, zombie in list(self._zombies.items()):
            if not zombie.may_outlive_a_change:
                self._bury(held)
        for partition in self.contested:
            self.succeed(Agent.REFINE, partition, 0.0).die()
        self.contested.clear()

    def _bury(self, held: tuple[Agent, int]) -> None:
        zombie = self._zombies.pop(held, None)
        if zombie is not None:
            zombie.die()

    def compact_changelog(self, partition: int) -> None:
        """Keep only the last row of each key, as Kafka does sooner or later."""
        rows = self.changelogs[partition]
        last = {key: number for number, (key, _) in enumerate(rows)}
        rows[:] = [row for number, row in enumerate(rows) if last[row[0]] == number]

    def recreate_raw(self) -> None:
        """Delete metrics.raw and create it anew; Kafka forgets what was committed for it."""
        self.circumstances_change()
        self.raw.clear()
        self.history.life += 1
        self.now += 1
        for log, worker in zip(self.raw_logs, self.refine, strict=True):
            log.committed = None
            worker.delivery.assigned_anew()

    def rejected_publications(self) -> list[Publication]:
        """Return what an operator finds on metrics.rejected."""
        chunks = [rejected.decode(record.value) for record in self.topics.all(self.settings.rejected_topic)]
        numbers = sorted({self.history.number(message) for chunk in chunks for message in chunk.messages})
        return [self.history.published[number][0] for number in numbers]

    # --- What the workers ask

    def _log_records(self, tp: TP) -> list[LogRecord]:
        log = self.raw_logs if tp == self._tp("raw", tp.partition) else self.unique_logs
        return [
            LogRecord(offset, held.value, held.headers, round((held.timestamp_s or 0) * 1_000))
            for offset, held in enumerate(log[tp.partition].records())
        ]

    def _raw(self, partition: int) -> list[Held]:
        return [
            Held(record.value, record.headers, record.timestamp_s)
            for record in self.raw
            if record.partition == partition
        ]

    def _unique(self, partition: int) -> list[Held]:
        return [Held(*record) for record in self.topics.logs[self.settings.unique_topic, partition]]

    def _tp(self, name: str, partition: int) -> TP:
        return TP(f"{self.settings.topic_prefix}.{name}", partition)

    def _arrival_ns(self) -> int:
        """Return a time that no other message has, so that each delivery is known by it."""
        self._arrivals += 1
        return int(self.now) * 1_000_000_000 + self._arrivals * 1_000


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _at_once(action: partial[None]) -> None:
    action()
