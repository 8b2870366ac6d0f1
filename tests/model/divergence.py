"""The model where histories diverge: parts come back as they were, clocks jump, versions are mixed.

What a part has lost is lost, and doing something twice is safe. So this machine asks less than `Pipeline` of
the way there, and as much of its end: what still stands in metrics.raw is in the database, once, and an id
that a device has sent since has the value that was sent last.
"""

import sys
from collections.abc import Sequence
from enum import Enum, auto

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.ingress.testing import FakeRawRecord
from streams.laravel.job import decode_job
from streams.laravel.testing import Snapshot
from streams.wire import raw
from tests.model.devices import AGENT, METRIC, PARTITIONS, SETTLED, STAMPS, Publication
from tests.model.drain import catch_up
from tests.model.expected import Content, Label
from tests.model.workers import Worker
from tests.model.world import Agent, World

ROUNDS_TO_REST = 5
HOUR_S = 3_600


class Lost(Enum):
    """What Kafka may lose the end of, alone."""

    RAW = auto()
    UNIQUE = auto()
    CHANGELOG = auto()


publications = st.builds(
    Publication,
    tenant=st.sampled_from(SETTLED),
    value=st.integers(1, 2),
    dedupe_id=st.sampled_from(["a", "a", "b", None]),
    stamp=st.sampled_from([None, None, None, *STAMPS]),
)
partitions = st.integers(0, PARTITIONS - 1)
agents = st.sampled_from(Agent)
numbers = st.integers(0, 3)
"""Choose one of several, counted round, the newest first."""


class Copy:
    """How long each log of Kafka's was at some time."""

    def __init__(self, world: World) -> None:
        self.raw = [log.end for log in world.raw_logs]
        self.topics = {name: len(log) for name, log in world.topics.logs.items()}
        self.changelogs = [len(rows) for rows in world.changelogs]


class Divergence(RuleBasedStateMachine):
    """Devices and workers, and parts that come back with older data."""

    steps = 0
    """Of all runs together."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.copies: list[Copy] = []
        self.saved: list[Snapshot] = [self.world.redis.snapshot()]
        self.rows: dict[tuple[str, str | None], tuple[Content, str]] = {}
        """By tenant and dedupe id: what a database has that works off each job at once."""
        self.worked_off = 0
        self.lost: list[tuple[Label, Content]] = []
        self.set_back_at = [0] * PARTITIONS
        """How much had been published when a partition lost something last."""
        self.versions = False

    @initialize(versions=st.booleans())
    def versions_are_mixed_or_histories_diverge(self, *, versions: bool) -> None:
        """Not both: what an older version wrote does not prove all that is needed."""
        self.versions = versions

    # --- Devices and workers

    @rule(batch=st.lists(publications, min_size=1, max_size=3))
    def devices_publish(self, batch: list[Publication]) -> None:
        for publication in batch:
            self.world.publish(publication)
        self.world.carry()

    @rule(agent=agents, partition=partitions, at_most=st.integers(1, 4))
    def a_worker_goes_on(self, agent: Agent, partition: int, at_most: int) -> None:
        worker = self.world.workers(agent)[partition]
        _look_where_the_log_ends(worker)
        if worker.has_work:
            worker.step(None, at_most)

    @rule(batch=st.lists(publications, max_size=2))
    def devices_publish_and_everything_flows(self, batch: list[Publication]) -> None:
        self.devices_publish(batch)
        for agent in Agent:
            for worker in self.world.workers(agent):
                _look_where_the_log_ends(worker)
                catch_up(worker)

    @rule(agent=agents, partition=partitions, old=st.booleans())
    def a_worker_is_replaced(self, agent: Agent, partition: int, *, old: bool) -> None:
        self.world.succeed(agent, partition, 0.0).die()
        if self.versions and old and agent is Agent.REFINE:
            self.world.refine[partition].becomes_an_older_version()

    @rule(partition=partitions, agent=agents)
    def the_audit_looks(self, partition: int, agent: Agent) -> None:
        self.world.workers(agent)[partition].audit()

    # --- What diverges

    @rule(number=numbers, restarted=st.booleans())
    @precondition(lambda self: self.copies and not self.versions)
    def kafka_comes_back_with_an_older_copy(self, number: int, *, restarted: bool) -> None:
        copy = self.copies[-1 - number % len(self.copies)]
        for partition in range(PARTITIONS):
            self._cut_raw(partition, copy.raw[partition])
            del self.world.changelogs[partition][copy.changelogs[partition] :]
        for name, log in self.world.topics.logs.items():
            del log[copy.topics.get(name, 0) :]
        self.copies = [self.copies[0], Copy(self.world)]
        if restarted:
            for agent in Agent:
                for partition in range(PARTITIONS):
                    self.world.succeed(agent, partition, 0.0).die()

    @rule(partition=partitions, earlier=st.integers(1, 2), restarted=st.booleans())
    @precondition(lambda self: not self.versions)
    def a_device_goes_back_to_an_earlier_value_and_kafka_has_forgotten_the_later(
        self, partition: int, earlier: int, *, restarted: bool
    ) -> None:
        """What chance alone would take too long to find."""
        tenant, later = SETTLED[partition], 3 - earlier
        self.devices_publish_and_everything_flows([Publication(tenant, earlier, "a")])
        self.copies_are_made()
        self.devices_publish_and_everything_flows([Publication(tenant, later, "a")])
        self.jobs_are_worked_off()
        self.kafka_comes_back_with_an_older_copy(0, restarted=restarted)
        self.devices_publish_and_everything_flows([Publication(tenant, earlier, "a")])

    @rule(what=st.sampled_from(Lost), partition=partitions, count=st.integers(1, 6), restarted=st.booleans())
    @precondition(lambda self: not self.versions)
    def the_end_of_one_log_is_lost(self, what: Lost, partition: int, count: int, *, restarted: bool) -> None:
        if what is Lost.RAW:
            self._cut_raw(partition, max(0, self.world.raw_logs[partition].end - count))
        elif what is Lost.UNIQUE:
            log = self.world.topics.logs[self.world.settings.unique_topic, partition]
            del log[max(0, len(log) - count) :]
        else:
            rows = self.world.changelogs[partition]
            del rows[max(0, len(rows) - count) :]
            restarted = True  # nobody reads a changelog but who recovers from it
        self.copies.clear()
        if restarted:
            for agent in Agent:
                self.world.succeed(agent, partition, 0.0).die()

    @rule(number=numbers)
    @precondition(lambda self: not self.versions)
    def redis_comes_back_with_older_data(self, number: int) -> None:
        snapshot = self.saved[-1 - number % len(self.saved)]
        self.world.redis.restore(snapshot)
        self.worked_off = len(snapshot.jobs)
        for partition in range(PARTITIONS):
            if self.set_back_at[partition]:
                # A later value that Kafka and Redis have both forgotten: the database alone knows of it.
                self.set_back_at[partition] = len(self.world.history.published)

    @rule(hours=st.sampled_from([-30, -6, -1, 1, 6, 30]))
    def the_clock_jumps(self, hours: int) -> None:
        self.world.wall_shift_s += hours * HOUR_S

    @rule(seconds=st.sampled_from([7, 7, 7, 1_300, 4_000]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += seconds

    def _cut_raw(self, partition: int, end: int) -> None:
        """Keep so many records of a partition of metrics.raw."""
        kept: list[FakeRawRecord] = []
        for record in self.world.raw:
            if record.partition != partition or record.offset < end:
                kept.append(record)
                continue
            self.lost += self._told(record)
            self.set_back_at[partition] = len(self.world.history.published)
        self.world.raw[:] = kept

    # --- What holds at all times

    @invariant()
    def jobs_are_worked_off(self) -> None:
        Divergence.steps += 1
        for payload in self.world.redis.jobs[self.worked_off :]:
            job = decode_job(payload)
            for metric in job.metrics:
                assert (metric.agent_id, metric.metric_name) == (AGENT, METRIC)
                stamp = metric.timestamp if metric.timestamp in STAMPS.values() else None
                content = Content(int(metric.value), stamp)
                self.rows[job.tenant_id, metric.dedupe_id] = content, metric.timestamp
        self.worked_off = len(self.world.redis.jobs)

    @invariant()
    def copies_are_made(self) -> None:
        self.copies.append(Copy(self.world))
        if self.saved[-1].fences != self.world.redis.fences:
            self.saved.append(self.world.redis.snapshot())

    # --- The end

    def teardown(self) -> None:
        """Let everything flow, and hold the rows to what must be there; unless a step has failed."""
        try:
            if sys.exc_info()[0] is None:
                self._come_to_rest()
                self._check()
        finally:
            self.world.close()

    def _come_to_rest(self) -> None:
        for _ in range(ROUNDS_TO_REST):
            # What was lost shows in the next record of a partition at the latest.
            for tenant in SETTLED:
                self.world.publish(Publication(tenant))
            self.world.carry()
            for agent in Agent:
                for worker in self.world.workers(agent):
                    worker.audit()
                    _look_where_the_log_ends(worker)
                    catch_up(worker)
            self.jobs_are_worked_off()

    def _check(self) -> None:
        standing: dict[Label, list[tuple[int, Content]]] = {}
        for record in self.world.raw:
            for message in raw.decode(record.value):
                label, content = self._label(message.received_at, self.world.history.number(message))
                standing.setdefault(label, []).append((self.world.history.number(message), content))
        found: dict[Label, Content] = {}
        for (tenant, dedupe_id), (content, timestamp) in self.rows.items():
            label = _label_of_row(tenant, dedupe_id, content, timestamp)
            assert label not in found, f"{label} has two rows"
            found[label] = content
        known = {*self.lost, *((label, content) for label, all_ in standing.items() for _, content in all_)}
        assert set(found.items()) <= known, "a row that nobody has sent"
        for label, sent in standing.items():
            assert label in found, f"{label} is missing"
            _, last = sent[-1]
            partition = SETTLED.index(str(label[1]))
            allowed = {last}
            # A device that says the same again says nothing new to whoever has taken it for a duplicate.
            if _first_of_the_same(sent) < self.set_back_at[partition]:
                allowed |= {content for other, content in self.lost if other == label}
            assert found[label] in allowed, f"{label} is {found[label]}, and was sent as {sent}"

    def _told(self, record: FakeRawRecord) -> list[tuple[Label, Content]]:
        messages = raw.decode(record.value)
        return [self._label(message.received_at, self.world.history.number(message)) for message in messages]

    def _label(self, received_at: str, number: int) -> tuple[Label, Content]:
        publication, _ = self.world.history.published[number]
        content = Content(publication.value, publication.timestamp)
        arrival = received_at.replace("T", " ").removesuffix("Z")
        return _label_of_row(publication.tenant, publication.dedupe_id, content, arrival), content


def _first_of_the_same(sent: Sequence[tuple[int, Content]]) -> int:
    """Return the number of the message since which an id has had the content that it has last."""
    since, last = sent[-1]
    for number, content in reversed(sent):
        if content != last:
            break
        since = number
    return since


def _label_of_row(tenant: str, dedupe_id: str | None, content: Content, timestamp: str) -> Label:
    """Return what tells a row: the device's id, what it says, or its arrival, which no other has."""
    if dedupe_id in ("a", "b"):
        return ("id", tenant, dedupe_id)
    if content.timestamp is not None:
        return ("reading", tenant, *content)
    return ("arrival", tenant, timestamp)


def _look_where_the_log_ends(worker: Worker) -> None:
    """Ask for the position anew where the log has become shorter, as Kafka says with the next fetch."""
    at = worker.delivery.at.next_fetch
    if at is not None and at > worker.delivery.end:
        worker.delivery.assigned_anew()
