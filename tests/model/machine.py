"""The model as a state machine: what may happen, in any order, and what must hold whatever did."""

import sys
from collections import Counter
from enum import Enum, auto

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.laravel.testing import Snapshot
from tests.model.checks import check, origin_of, uuid_of
from tests.model.devices import GUESTS, PARTITIONS, SETTLED, Publication, publications
from tests.model.drain import catch_up, drain
from tests.model.world import Agent, World


class Fate(Enum):
    """What becomes of a worker that was stopped before or after the effect of a call."""

    WAITS = auto()
    FAILS = auto()
    """The call, as in an outage: the worker tries again."""
    DIES = auto()
    IS_REPLACED = auto()
    """It has lost its partition, and lingers."""
    IS_OVERTAKEN = auto()
    """The same, and its successor has been quick."""


class Mishap(Enum):
    """What may befall ingress."""

    REFUSED = auto()
    """Kafka takes nothing of what is on its way."""
    ANSWER_LOST = auto()
    """Kafka takes a chunk, but does not get to say so."""
    DISCONNECTED = auto()
    DIES = auto()
    TAKEN_OVER = auto()


partitions = st.integers(0, PARTITIONS - 1)
numbers = st.integers(0, 3)
"""Choose one of several, counted round, however many there are."""
refine_stops, handoff_stops = st.integers(0, 12), st.integers(0, 2)
"""After how many passes of its gate a worker stops: each call passes it before and after its effect."""
together = st.integers(1, 4)
"""How many records a worker takes at once, if so many are there."""
fates = st.sampled_from(Fate)
agents = st.sampled_from(Agent)
skews_s = st.sampled_from([0.0, -2.0, 2.0])
REDIS_SAVES = 4
"""How many of its changes a Redis may lose."""
BAD_ROWS = [(b"", b""), (b"no-key", None), (b"0-99999", b"\xc1"), (b"1-99999", b"no decision")]
"""Of coordinates that no chunk has: compaction would have one of a chunk destroy that chunk's decision."""


class Pipeline(RuleBasedStateMachine):
    """Devices, operators and outages around the agents."""

    steps = 0
    """Of all runs together."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.saved: list[Snapshot] = []
        self.commits = False
        self.acknowledged = 0
        self.looked_at: Counter[tuple[str, int]] = Counter()

    @initialize(commits=st.booleans())
    def offsets_are_committed_at_once_or_never(self, *, commits: bool) -> None:
        self.commits = commits

    @initialize(everywhere=st.booleans())
    def every_partition_has_had_a_job_or_none(self, *, everywhere: bool) -> None:
        if everywhere:
            self._every_tenant_publishes()
            for partition in range(PARTITIONS):
                self.both_catch_up(partition)

    def _every_tenant_publishes(self) -> None:
        for tenant in SETTLED:
            self.world.publish(Publication(tenant))
        self.world.carry()

    # --- Devices and operators

    @rule(batch=st.lists(publications, min_size=1, max_size=3))
    def devices_publish(self, batch: list[Publication]) -> None:
        for publication in batch:
            self.world.publish(publication)

    @rule(batch=st.lists(publications, min_size=1, max_size=3))
    def devices_publish_and_all_of_it_is_carried(self, batch: list[Publication]) -> None:
        self.devices_publish(batch)
        self.world.carry()

    @rule(number=numbers)
    @precondition(lambda self: self.world.history.published)
    def a_device_repeats_itself_and_it_is_carried(self, number: int) -> None:
        published = self.world.history.published
        self.world.publish(published[-1 - number % len(published)][0])
        self.world.carry()

    @rule(number=numbers)
    @precondition(lambda self: self.world.rejected_publications())
    def an_operator_replays_a_rejected_message(self, number: int) -> None:
        rejected = self.world.rejected_publications()
        self.world.publish(rejected[-1 - number % len(rejected)])

    # --- Ingress

    @rule(order=st.lists(numbers, min_size=1, max_size=4))
    @precondition(lambda self: self.world.broker.waiting)
    def kafka_takes_chunks(self, order: list[int]) -> None:
        self.world.breathe()
        for number in order:
            self.world.ingress.land(number)
        self.world.breathe()

    @rule(mishap=st.sampled_from(Mishap), number=numbers)
    def ingress_meets_with(self, mishap: Mishap, number: int) -> None:
        self.world.breathe()
        if mishap is Mishap.REFUSED:
            self.world.ingress.writer.fail_held()
        elif mishap is Mishap.ANSWER_LOST:
            self.world.ingress.lose_answer(number)
        elif mishap is Mishap.DISCONNECTED:
            self.world.broker.lose()
        else:
            self.world.replace_ingress(dead=mishap is Mishap.DIES)
        self.world.breathe()

    @rule(number=numbers)
    @precondition(lambda self: any(process.landable for process in self.world.past_ingress))
    def kafka_takes_a_chunk_of_an_ingress_that_is_gone(self, number: int) -> None:
        next(process for process in self.world.past_ingress if process.landable).land(number)
        self.world.breathe()

    # --- refine and handoff

    @rule(number=numbers, stop_after=refine_stops, at_most=together, fate=fates, skew_s=skews_s)
    @precondition(lambda self: self.world.busy(Agent.REFINE))
    def refine_goes_on_until_something_stops_it(
        self, number: int, stop_after: int, at_most: int, fate: Fate, skew_s: float
    ) -> None:
        self._meets(Agent.REFINE, self._goes_on(Agent.REFINE, number, stop_after, at_most), fate, skew_s)

    @rule(number=numbers, stop_after=handoff_stops, at_most=together, fate=fates)
    @precondition(lambda self: self.world.busy(Agent.HANDOFF))
    def handoff_goes_on_until_something_stops_it(
        self, number: int, stop_after: int, at_most: int, fate: Fate
    ) -> None:
        self._meets(Agent.HANDOFF, self._goes_on(Agent.HANDOFF, number, stop_after, at_most), fate, 0.0)

    @rule(agent=agents, partition=partitions, fate=fates, skew_s=skews_s)
    def a_worker_meets_its_fate(self, agent: Agent, partition: int, fate: Fate, skew_s: float) -> None:
        self._meets(agent, partition, fate, skew_s)

    @rule(partition=partitions)
    @precondition(lambda self: self.world.busy(Agent.REFINE))
    def refine_catches_up(self, partition: int) -> None:
        catch_up(self.world.refine[partition])

    @rule(partition=partitions)
    def both_catch_up(self, partition: int) -> None:
        catch_up(self.world.refine[partition])
        catch_up(self.world.handoff[partition])

    @rule(number=numbers, stop_after=refine_stops, at_most=together)
    @precondition(lambda self: self.world.busy_zombies())
    def a_zombie_goes_on(self, number: int, stop_after: int, at_most: int) -> None:
        zombies = self.world.busy_zombies()
        self.world.zombie_goes_on(*zombies[number % len(zombies)], stop_after, at_most)

    @rule(agent=agents, partition=partitions, back=st.integers(0, 4))
    def a_partition_is_read_again(self, agent: Agent, partition: int, back: int) -> None:
        worker = self.world.workers(agent)[partition]
        if worker.is_idle:
            worker.delivery.rewound(max(0, worker.delivery.expected - back))

    @rule(agent=agents, partition=partitions, ahead=st.integers(-2, 2))
    def a_record_arrives_out_of_order(self, agent: Agent, partition: int, ahead: int) -> None:
        worker = self.world.workers(agent)[partition]
        if worker.is_idle and 0 <= (offset := worker.delivery.expected + ahead) < worker.delivery.end:
            worker.stray(offset)

    def _goes_on(self, agent: Agent, number: int, stop_after: int, at_most: int) -> int:
        """Let one of the workers that have something to do go on; return its partition."""
        busy = self.world.busy(agent)
        partition = busy[number % len(busy)]
        self.world.workers(agent)[partition].step(stop_after, at_most)
        return partition

    def _meets(self, agent: Agent, partition: int, fate: Fate, skew_s: float) -> None:
        if fate is Fate.FAILS:
            self.world.workers(agent)[partition].fail()
        elif fate is Fate.DIES:
            self.world.succeed(agent, partition, skew_s).die()
        elif fate in (Fate.IS_REPLACED, Fate.IS_OVERTAKEN):
            self.world.replace(agent, partition, skew_s)
        if fate is Fate.IS_OVERTAKEN:
            self.world.workers(agent)[partition].step()

    # --- Redis, Kafka, tenants, time

    @rule(back=st.integers(1, REDIS_SAVES))
    @precondition(lambda self: len(self.saved) > 1)
    def redis_comes_back_with_older_data(self, back: int) -> None:
        # Never without a fence that was there: what was lost with one cannot be told.
        self.world.redis.restore(self.saved[max(0, len(self.saved) - 1 - back)])

    @rule(chunks=st.integers(0, 3))
    def the_raw_topic_is_recreated_and_grows_before_refine_looks(self, chunks: int) -> None:
        for worker in self.world.refine:
            catch_up(worker)  # what it has not read by then is gone, whatever one does
        self.world.recreate_raw()
        for _ in range(chunks):
            self._every_tenant_publishes()

    @rule(partition=partitions, row=st.sampled_from(BAD_ROWS), compacted=st.booleans())
    def the_changelog_gets_a_bad_row(
        self, partition: int, row: tuple[bytes, bytes | None], *, compacted: bool
    ) -> None:
        self.world.changelogs[partition].append(row)
        if compacted:
            self.world.compact_changelog(partition)

    @rule(partition=partitions, heard=st.booleans())
    def a_tenant_is_added_or_removed(self, partition: int, *, heard: bool) -> None:
        self.world.circumstances_change()
        self.world.tenants.existing ^= {GUESTS[partition]}
        if heard:
            self.world.tenant_cache.forget(GUESTS[partition])

    # No sum of these comes near the window of 3,600 s, where the workers' clocks would disagree.
    @rule(seconds=st.sampled_from([7, 1_300, 4_000]))
    def time_passes(self, seconds: int) -> None:
        self.world.circumstances_change()
        self.world.now += seconds

    # --- What holds at all times

    @invariant()
    def commit(self) -> None:
        if self.commits:
            for worker in [*self.world.refine, *self.world.handoff]:
                worker.delivery.commit()

    @invariant()
    def acknowledgements_go_out_in_order_and_for_what_is_durable(self) -> None:
        Pipeline.steps += 1
        acknowledged = self.world.broker.acknowledged
        for number in range(self.acknowledged, len(acknowledged)):
            publication, payload = self.world.history.published[number]
            assert acknowledged[number] == (publication.topic(), payload)
            assert number in self.world.history.durable
        self.acknowledged = len(acknowledged)

    @invariant()
    def what_is_emitted_was_decided_and_recorded_before(self) -> None:
        for log in list(self.world.topics.logs):
            records = self.world.topics.logs[log]
            for record in records[self.looked_at[log] :]:
                assert self.world.history.has_decided_on(origin_of(record.value))
            self.looked_at[log] = len(records)

    @invariant()
    def no_job_is_on_the_queue_twice(self) -> None:
        jobs = self.world.redis.jobs
        assert len({uuid_of(job) for job in jobs}) == len(jobs)
        fences = self.world.redis.fences
        if len(fences) == PARTITIONS and (not self.saved or self.saved[-1].fences != fences):
            self.saved.append(self.world.redis.snapshot())

    # --- The end

    def teardown(self) -> None:
        """Mend everything, let it flow, and hold what stands then to what must; unless a step has failed."""
        try:
            if sys.exc_info()[0] is None:
                drain(self.world)
                self.acknowledgements_go_out_in_order_and_for_what_is_durable()
                check(self.world)
        finally:
            self.world.close()
