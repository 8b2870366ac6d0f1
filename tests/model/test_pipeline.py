"""Nothing is lost and nothing doubled, whatever fails when: a state machine over the real agents."""

import asyncio
import os
from collections import Counter, defaultdict
from typing import ClassVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agents.refine import examine
from streams.chunks import partition_of
from streams.models import Origin, Reason
from streams.settings import Settings
from streams.wire import raw, rejected, unique
from streams.wire.headers import read_epoch
from tests.model.bridge import Bridge
from tests.model.faults import CrashError, Fault, How
from tests.model.oracle import Reading, RowKey, job_uuids, messages_of, refused, rows_of, same_rows, upserted
from tests.model.parts import Outside
from tests.model.worker import RAW, UNIQUE, Key, Worker

PARTITIONS = 2
STEADY, FICKLE, LATE = (
    "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "11111111-1111-4111-8111-111111111111",
    "22222222-2222-4222-8222-222222222222",
)
"""A tenant that is always there, one that comes and goes, and one that is there only once it is added."""
WINDOW_S = 600.0
SETTINGS = Settings.from_mapping(
    {
        "TOPIC_PARTITIONS": str(PARTITIONS),
        "CHUNK_LINGER_MS": "0",
        "CHUNK_MAX_MESSAGES": "3",
        "DEDUPE_WINDOW_S": str(WINDOW_S),
    }
)
IN_CI = bool(os.environ.get("CI"))
STEPS_IN_CI = 10_000
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "300" if IN_CI else "40"))
STEPS_AN_EXAMPLE = 50

faults = st.none() | st.builds(
    Fault, st.integers(0, 5), st.booleans(), st.sampled_from([How.CRASH, How.OUTAGE, How.FREEZE])
)
keys = st.tuples(st.sampled_from([RAW, UNIQUE]), st.integers(0, PARTITIONS - 1))


class Pipeline(RuleBasedStateMachine):
    """The rules are what happens; the invariants and `teardown` what must be true."""

    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.outside = Outside()
        self.outside.tenants.existing |= {STEADY, FICKLE}
        self.owners: dict[int, Worker] = {}
        self.frozen: list[tuple[Worker, asyncio.Task[bool]]] = []
        self.snapshot = self.outside.redis.snapshot()
        self.expected: dict[RowKey, Reading] = {}
        self.rejections_before: Counter[tuple[Origin, int, Reason]] = Counter()
        self.decided_twice: set[Origin] = set()

    @initialize(receive_maximum=st.integers(1, 9))
    def begin(self, receive_maximum: int) -> None:
        self.bridge = Bridge(self.outside, SETTINGS, receive_maximum)
        for partition in range(PARTITIONS):
            self.take_over(partition)

    # --- devices and operators

    @rule(
        fields=st.fixed_dictionaries(
            {
                "value": st.integers(0, 2),
                "dedupe_id": st.none() | st.sampled_from(["i", "j", "k", "0"]),
                "timestamp": st.none() | st.integers(1_700_000_000, 1_700_000_002),
            }
        ),
        tenant=st.sampled_from([STEADY, FICKLE, LATE]),
        agent=st.sampled_from(["a", "b"]),
        times=st.integers(1, 3),
    )
    def publish(self, fields: dict[str, object], tenant: str, agent: str, times: int) -> None:
        for _ in range(times):
            self.bridge.publish(f"metrics/{tenant}/{agent}/m", msgspec.json.encode(fields))

    @rule(
        readings=st.lists(
            st.tuples(
                st.sampled_from([STEADY, FICKLE, LATE]),
                st.sampled_from(
                    [b'{"value":1,"dedupe_id":"i"}', b'{"value":2,"dedupe_id":"i"}', b'{"value":3}']
                ),
            ),
            min_size=1,
            max_size=4,
        ),
        fault_of_refine=faults,
        fault_of_handoff=faults,
    )
    def let_some_pass(
        self, readings: list[tuple[str, bytes]], fault_of_refine: Fault | None, fault_of_handoff: Fault | None
    ) -> None:
        """Publish and carry, and let each partition's next chunk pass: what happens most in the world."""
        for tenant, payload in readings:
            self.bridge.publish(f"metrics/{tenant}/a/m", payload)
        self.run(self.bridge.carry_all())
        for partition in range(PARTITIONS):
            self.step((RAW, partition), fault_of_refine)
            self.step((UNIQUE, partition), fault_of_handoff)

    @rule(payload=st.sampled_from([b"{", b"[]", b'{"value":"warm"}', b'{"value":1,"dedupe_id":[]}', b"\xff"]))
    def publish_malformed(self, payload: bytes) -> None:
        self.bridge.publish(f"metrics/{STEADY}/a/m", payload)

    @precondition(lambda self: not self.frozen)
    @rule(tenant=st.sampled_from([FICKLE, LATE]))
    def add_or_remove_tenant(self, tenant: str) -> None:
        self.outside.tenants.existing ^= {tenant}

    @rule(number=st.integers(0, 9))
    def publish_a_rejected_message_again(self, number: int) -> None:
        records = [
            record
            for (topic, _), log in self.outside.topics.items()
            if topic.endswith("rejected")
            for record in log
        ]
        if records:
            message = rejected.decode(records[number % len(records)].value).messages[0]
            if message.payload is not None:
                self.bridge.publish(message.topic, message.payload.encode())

    # --- ingress

    @rule(releases=st.lists(st.integers(0, 5), max_size=8), lose_answer=st.booleans())
    def carry(self, releases: list[int], lose_answer: bool) -> None:  # noqa: FBT001 - drawn by name
        self.run(self.bridge.carry(releases, lose_answer=lose_answer))

    # --- refine and handoff

    @rule(key=keys, records=st.integers(1, 4), fault=faults)
    def work(self, key: Key, records: int, fault: Fault | None) -> None:
        for number in range(records):
            if not self.step(key, fault if number == records - 1 else None):
                return

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def take_over(self, partition: int) -> None:
        """Let a worker that knows nothing but the changelog have the partition."""
        self.owners[partition] = Worker(self.outside, SETTINGS)

    @precondition(lambda self: self.frozen)
    @rule(number=st.integers(0, 9))
    def thaw(self, number: int) -> None:
        """Let a worker that hung go on with what it had begun, whoever has its partition now."""
        worker, task = self.frozen.pop(number % len(self.frozen))
        worker.strikes.go_on.set()
        self.run(asyncio.wait({task}))
        task.result()

    # --- the world outside

    @rule()
    def save_redis(self) -> None:
        self.snapshot = self.outside.redis.snapshot()

    @precondition(lambda self: self.snapshot.fences.keys() == self.outside.redis.fences.keys())
    @rule()
    def set_redis_back(self) -> None:
        self.outside.redis.restore(self.snapshot)

    @precondition(lambda self: not self.frozen)
    @rule()
    def recreate_raw(self) -> None:
        for partition in range(PARTITIONS):
            self.finish((RAW, partition))
        self.account()
        self.outside.recreate_raw()

    @rule(seconds=st.sampled_from([1.0, WINDOW_S / 2, WINDOW_S + 1]))
    def let_time_pass(self, seconds: float) -> None:
        self.outside.now += seconds

    @rule(row=st.sampled_from([(b"", b"x"), (b"0-99999", b"\xff"), (b"x-1", None)]))
    def spoil_the_changelog(self, row: tuple[bytes, bytes | None]) -> None:
        self.outside.changelog.append(row)

    # --- what must be true

    @invariant()
    def count(self) -> None:
        type(self).steps += 1

    @invariant()
    def the_broker_forgets_in_order_and_only_what_metrics_raw_has(self) -> None:
        if not hasattr(self, "bridge"):
            return
        acknowledged = self.bridge.broker.acknowledged
        assert acknowledged == self.bridge.published[: len(acknowledged)]
        durable = Counter(
            (message.topic, message.payload_bytes())
            for logs in (self.outside.raw, self.outside.raw_before)
            for log in logs.values()
            for _, _, message in messages_of(log)
        )
        assert not Counter(acknowledged) - durable

    @invariant()
    def no_job_is_on_the_queue_twice(self) -> None:
        assert not [uuid for uuid, times in job_uuids(self.outside.redis.jobs).items() if times > 1]

    @invariant()
    def a_replay_emits_the_same(self) -> None:
        seen: dict[tuple[int, Origin], bytes] = {}
        for (topic, _), log in self.outside.topics.items():
            for record in log if topic == SETTINGS.unique_topic else ():
                origin = unique.decode(record.value).origin
                if origin not in self.decided_twice:
                    assert seen.setdefault((read_epoch(record.headers), origin), record.value) == record.value

    def teardown(self) -> None:
        if hasattr(self, "bridge"):
            while self.frozen:
                self.thaw(0)
            self.run(self.bridge.carry_all())
            for partition in range(PARTITIONS):
                self.take_over(partition)
                self.finish((RAW, partition))
                self.finish((UNIQUE, partition))
            self.account()
            self.the_broker_forgets_in_order_and_only_what_metrics_raw_has()
            self.no_job_is_on_the_queue_twice()
            assert self.bridge.broker.acknowledged == self.bridge.published
            found = rows_of(self.outside.redis.jobs)
            assert same_rows(found, self.expected), f"{found}\n{self.expected}"
        self.loop.close()

    # --- how it is done

    def run(self, work: object) -> None:
        self.loop.run_until_complete(work)  # type: ignore[arg-type] # a coroutine of any result

    def finish(self, key: Key) -> None:
        while self.step(key, None):
            pass

    def step(self, key: Key, fault: Fault | None) -> bool:
        """Let the partition's owner take its next record; a crash or a freeze makes another one the owner."""
        worker = self.owners[key[1]]
        task = self.loop.create_task(worker.step(key, fault))
        self.run(_until_done_or_frozen(task, worker))
        if not task.done():
            self.frozen.append((worker, task))
            if key[0] == RAW:
                self.decided_twice.add(Origin(key[1], worker.at.get(key, -1)))
        elif not isinstance(task.exception(), CrashError):
            return task.result()
        for partition, owner in self.owners.items():
            if owner is worker:
                self.take_over(partition)
        return False

    def account(self) -> None:
        """Take in what the messages on metrics.raw must have led to; refine has caught up."""
        rejections = Counter[tuple[Origin, int, Reason]]()
        for (topic, _), log in self.outside.topics.items():
            if topic == SETTINGS.rejected_topic:
                rejections += refused(log)
        new, self.rejections_before = rejections - self.rejections_before, rejections
        reasons: dict[tuple[Origin, int], set[Reason]] = defaultdict(set)
        for origin, index, reason in new:
            reasons[origin, index].add(reason)
        for partition, log in self.outside.raw.items():
            self._account_log(partition, log_values=[record.value for record in log], reasons=reasons)

    def _account_log(
        self, partition: int, *, log_values: list[bytes], reasons: dict[tuple[Origin, int], set[Reason]]
    ) -> None:
        for offset, value in enumerate(log_values):
            origin, messages = Origin(partition, offset), raw.decode(value)
            examined = examine(messages, origin, SETTINGS.max_clock_skew_s)
            for index, message in enumerate(messages):
                found = reasons[origin, index]
                assert partition == partition_of(message.topic.split("/")[1], PARTITIONS)
                if (rejection := examined.rejections.get(index)) is not None:
                    assert found == {rejection.reason}
                elif found:
                    tenant = examined.candidates[index].reading.tenant_id
                    assert found == {Reason.TENANT_UNKNOWN}
                    assert tenant != STEADY
                else:
                    upserted(self.expected, examined.candidates[index])


async def _until_done_or_frozen(task: "asyncio.Task[bool]", worker: Worker) -> None:
    freezing = asyncio.ensure_future(worker.strikes.froze.wait())
    await asyncio.wait({task, freezing}, return_when=asyncio.FIRST_COMPLETED)
    freezing.cancel()


def test_nothing_is_lost_and_nothing_doubled_whatever_fails_when() -> None:
    Pipeline.steps = 0
    run_state_machine_as_test(
        Pipeline,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_AN_EXAMPLE,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    if IN_CI:
        assert Pipeline.steps >= STEPS_IN_CI
