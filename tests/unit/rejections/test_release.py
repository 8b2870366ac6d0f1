"""What is beyond a quota is put back as the quota allows: all of it, in order, and no faster."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.browse.coordinate import Coordinate
from streams.browse.messages import Browsed, TopicRecord
from streams.counters import Note, Statistics
from streams.errors import Outage
from streams.ingress.quota import Quota
from streams.models import Reason, RejectedMessage, Stage
from streams.rejections.allowance import Allowance
from streams.rejections.listing import Rejected
from streams.rejections.release import EVERY_S, Release, release_of
from streams.settings import Settings

HOLD_S = 1_800.0
UNIX_S = 1_800_000_000.0


class FakeHeld:
    """metrics.rejected, each of whose records holds one message of a tenant's."""

    def __init__(self) -> None:
        self.records: dict[int, list[Rejected]] = {0: [], 1: []}
        self.marked: set[Coordinate] = set()
        self.put_back_so_far: list[str] = []
        self.outages = 0
        """How many more times Kafka takes a batch and then no mark."""
        self.scanned = 0

    def reject(self, tenant: str, payload: str, *, partition: int = 0, at_s: float = UNIX_S) -> None:
        offset = len(self.records[partition])
        record = TopicRecord("rejected", partition, offset, round(at_s * 1_000), b"", {})
        body = RejectedMessage(0, f"metrics/{tenant}/edge/cpu", payload)
        browsed = Browsed(record, Coordinate(partition, offset, 0), body, Reason.QUOTA_EXCEEDED, Stage.QUOTA)
        self.records[partition].append(Rejected(browsed, None))

    async def ends(self) -> Mapping[int, int]:
        return {partition: len(records) for partition, records in self.records.items()}

    async def found(
        self, since_ms: int, starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> AsyncGenerator[Rejected, None]:
        for partition, end in ends.items():
            for each in self.records[partition][starts.get(partition, 0) : end]:
                self.scanned += 1
                if each.message.record.written_ms >= since_ms and each.message.coordinate not in self.marked:
                    yield each

    @asynccontextmanager
    async def returning(self) -> AsyncIterator["FakeHeld"]:
        yield self

    async def put_back(self, batch: Sequence[Rejected]) -> None:
        self.put_back_so_far += [each.body.payload or "" for each in batch]
        if self.outages:
            self.outages -= 1
            raise Outage("kafka", "away")
        self.marked.update(each.message.coordinate for each in batch)


class Bench:
    """A release, and the time that it is told."""

    def __init__(self, messages_per_s: float = 2, bytes_per_s: float = float("inf")) -> None:
        self.held, self.statistics = FakeHeld(), Statistics()
        self.now, self.leads = 0.0, True
        self.release = Release(
            self.held,
            Quota(messages_per_s, bytes_per_s, 10),
            self.statistics,
            rejected_topic="metrics.rejected",
            hold_s=HOLD_S,
            leads=lambda: self.leads,
            clock=lambda: UNIX_S + self.now,
            monotonic=lambda: self.now,
        )

    async def turn_after(self, seconds: float) -> list[str]:
        """Let time pass and a turn come; return what was put back in it."""
        self.now += seconds
        before = len(self.held.put_back_so_far)
        await self.release.turn()
        return self.held.put_back_so_far[before:]


async def test_each_tenant_gets_its_quota_of_the_time_that_has_passed_in_the_order_in_which_it_came() -> None:
    bench = Bench(messages_per_s=2)
    for number in range(30):
        bench.held.reject("a", f"a{number}")
    bench.held.reject("b", "b0")
    first = await bench.turn_after(100)  # it leads from now on: so long as there is between two turns
    assert first == [*(f"a{number}" for number in range(round(2 * EVERY_S))), "b0"]
    assert await bench.turn_after(3) == [f"a{number}" for number in range(10, 16)]
    assert bench.release.left == 14
    assert await bench.turn_after(60) == [f"a{number}" for number in range(16, 30)]
    assert bench.release.left == 0
    assert bench.statistics.notes[Note.QUOTA_RELEASED] == 31


async def test_what_is_put_back_is_not_looked_at_again() -> None:
    bench = Bench(messages_per_s=1)
    for number in range(10):
        bench.held.reject("a", str(number))
    await bench.turn_after(5)
    bench.held.scanned = 0
    await bench.turn_after(2)
    assert bench.held.scanned == 5
    bench.held.scanned = 0
    await bench.turn_after(60)
    await bench.turn_after(60)
    assert bench.held.scanned == 3


async def test_a_tenant_whose_next_message_must_wait_gets_none_behind_it() -> None:
    bench = Bench(messages_per_s=100, bytes_per_s=2)
    for payload in ("x" * 30, "y", "z"):
        bench.held.reject("a", payload)
    assert await bench.turn_after(5) == ["x" * 30]  # larger than what there is, so it takes from later
    assert await bench.turn_after(9) == []
    assert await bench.turn_after(2) == ["y", "z"]


async def test_what_was_held_for_too_long_is_left_to_the_operator_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(messages_per_s=0.1)
    for number in range(200):
        bench.held.reject("a", str(number))
    await bench.turn_after(5)
    assert "200 messages" not in caplog.text
    for _ in range(2):
        await bench.turn_after(HOLD_S / 2 - 10)
    assert caplog.text.count("have been held for") == 1
    assert "rejected replay --reason quota_exceeded" in caplog.text
    assert await bench.turn_after(60) == []


async def test_when_holding_begins_and_ends_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(messages_per_s=1)
    for tenant in "aaaaaaaaab":
        bench.held.reject(tenant, "x")
    for _ in range(4):
        await bench.turn_after(2)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(",")[0] for line in lines] == [
        "4 messages are beyond the quota of their tenants (1) and held back",
        "all messages that were held back because of a quota are put back",
    ]


async def test_what_kafka_did_not_mark_is_put_back_again_and_nothing_is_left_out() -> None:
    bench = Bench(messages_per_s=1)
    for number in range(4):
        bench.held.reject("a", str(number))
    bench.held.outages = 1
    with pytest.raises(Outage):
        await bench.turn_after(5)
    assert await bench.turn_after(5) == ["0", "1", "2", "3"]


async def test_a_worker_that_does_not_lead_puts_nothing_back_and_later_looks_at_everything() -> None:
    bench = Bench(messages_per_s=1)
    bench.held.reject("a", "0")
    bench.leads = False
    assert await bench.turn_after(5) == []
    bench.leads = True
    assert await bench.turn_after(5) == ["0"]
    bench.leads = False
    bench.held.reject("a", "1")
    await bench.turn_after(5)
    bench.leads = True
    bench.held.scanned = 0
    assert await bench.turn_after(5) == ["1"]
    assert bench.held.scanned == 2


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(0, 1)), max_size=60),
    st.lists(st.floats(0.1, 30), min_size=1, max_size=10),
)
async def test_nobody_gets_more_than_the_quota_nor_anything_out_of_order(
    messages: list[tuple[str, int, int]], waits_s: list[float]
) -> None:
    bench = Bench(messages_per_s=2, bytes_per_s=40)
    sent: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    homes = {"a": 0, "b": 1, "c": 0}
    for number, (tenant, size, _) in enumerate(messages):
        payload = f"{tenant}{number}".ljust(size, "x")
        bench.held.reject(tenant, payload, partition=homes[tenant])
        sent[tenant].append(payload)
    elapsed_s = EVERY_S
    await bench.turn_after(1)
    for wait_s in waits_s:
        elapsed_s += wait_s
        await bench.turn_after(wait_s)
    for tenant, all_sent in sent.items():
        got = [payload for payload in bench.held.put_back_so_far if payload[0] == tenant]
        assert got == all_sent[: len(got)]
        turns = len(waits_s) + 1
        assert len(got) <= elapsed_s * 2 + turns
        assert sum(map(len, got[:-1])) <= elapsed_s * 40 + turns * 40


def test_an_allowance_of_one_kind_is_no_limit_of_the_other() -> None:
    allowance = Allowance(Quota(float("inf"), 10, 10))
    allowance.begin(1)
    assert [allowance.grants("a", 5) for _ in range(3)] == [True, True, False]


def test_without_a_quota_or_by_default_nothing_is_released() -> None:
    def release(**settings: str) -> object:
        return release_of(Settings.from_mapping(settings), Statistics(), lambda: True)

    assert release() is None
    assert release(QUOTA_ACTION="hold") is None
    assert release(QUOTA_MESSAGES_PER_S="5") is None
    assert release(QUOTA_MESSAGES_PER_S="5", QUOTA_ACTION="hold") is not None
