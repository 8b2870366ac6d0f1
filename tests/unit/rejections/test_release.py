"""What is beyond a quota is put back as the quota allows: all of it, in order, and no faster."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.browse.coordinate import Coordinate
from streams.browse.messages import Browsed, TopicRecord
from streams.counters import Note, Statistics
from streams.errors import Outage
from streams.ingress.chunking import partition_of
from streams.ingress.quota import Quota
from streams.models import Reason, RejectedMessage, Stage
from streams.rejections.backlog import HeldMessage, HeldRecord, NextMessages
from streams.rejections.held import LogChanged
from streams.rejections.listing import Rejected
from streams.rejections.release import (
    EVERY_S,
    MOST_ELAPSED_S,
    MOST_PLACES,
    TOLD_EVERY_S,
    Limits,
    Release,
    release_of,
)
from streams.settings import Settings

HOLD_S = 1_800.0
UNIX_S = 1_800_000_000.0
PARTITIONS = 2
ELSEWHERE = "d"
"""A tenant in another partition of metrics.raw than "a"."""


class FakeHeld:
    """metrics.rejected, each of whose records holds one message of a tenant's."""

    def __init__(self) -> None:
        self.records: dict[int, list[Rejected]] = {0: [], 1: []}
        self.marked: set[Coordinate] = set()
        self.put_back_so_far: list[str] = []
        self.outages = 0
        """How many more times Kafka takes a batch and then no mark."""
        self.refused = ""
        """The payload with which a batch is refused."""
        self.read_so_far = 0
        self.away = False
        self.newest_ms = 0
        self._since_ms = 0
        self._next = {0: 0, 1: 0}

    def reject(self, tenant: str, payload: str, *, partition: int = 0, at_s: float = UNIX_S) -> None:
        offset = len(self.records[partition])
        record = TopicRecord("rejected", partition, offset, round(at_s * 1_000), b"", {})
        body = RejectedMessage(0, f"metrics/{tenant}/edge/cpu", payload)
        browsed = Browsed(record, Coordinate(partition, offset, 0), body, Reason.QUOTA_EXCEEDED, Stage.QUOTA)
        self.records[partition].append(Rejected(browsed, None))

    def make_anew(self) -> None:
        self.records, self.marked = {0: [], 1: []}, set()

    async def broker_ms(self) -> int:
        return self.newest_ms

    def begin(self, since_ms: int) -> None:
        self._since_ms, self._next = since_ms, {0: 0, 1: 0}

    async def read(self) -> AsyncGenerator[HeldRecord, None]:
        if self.away:
            raise Outage("kafka", "away")
        for partition, records in self.records.items():
            if len(records) < self._next[partition]:
                raise LogChanged
            for each in records[self._next[partition] :]:
                self._next[partition] += 1
                self.read_so_far += 1
                record = each.message.record
                if record.written_ms >= self._since_ms and each.message.coordinate not in self.marked:
                    payload = each.body.payload or ""
                    message = HeldMessage(0, each.message.names[0], len(payload))
                    yield HeldRecord(partition, record.offset, record.written_ms, hash(payload), [message])

    async def fetch(self, chosen: Sequence[NextMessages]) -> list[list[Rejected]]:
        found = [self.records[each.place.partition][each.place.offset] for each in chosen]
        if [hash(each.body.payload) for each in found] != [each.place.digest for each in chosen]:
            raise LogChanged
        return [[each] if each.message.coordinate not in self.marked else [] for each in found]

    def forget(self, before_ms: int) -> None:
        pass

    @asynccontextmanager
    async def returning(self) -> AsyncIterator["FakeHeld"]:
        yield self

    async def put_back(self, batch: Sequence[Rejected]) -> None:
        payloads = [each.body.payload or "" for each in batch]
        if self.refused and self.refused in payloads:
            raise Outage("kafka", "a partition has no leader")
        self.put_back_so_far += payloads
        if self.outages:
            self.outages -= 1
            raise Outage("kafka", "away")
        self.marked.update(each.message.coordinate for each in batch)


class Bench:
    """A release, and the time that it is told."""

    def __init__(self, messages_per_s: float = 2, bytes_per_s: float = float("inf")) -> None:
        self.held, self.statistics = FakeHeld(), Statistics()
        self.now, self.leads, self.clock_ahead_s = 0.0, True, 0.0
        quota = Quota(messages_per_s, bytes_per_s, 10)
        self.release = Release(
            self.held,
            Limits(quota, HOLD_S, PARTITIONS, "metrics.rejected"),
            self.statistics,
            leads=lambda: self.leads,
            clock=lambda: UNIX_S + self.now + self.clock_ahead_s,
            monotonic=lambda: self.now,
        )

    def reject(self, tenant: str, count: int, **where: float) -> list[str]:
        """Reject messages of a tenant; return their payloads."""
        payloads = [f"{tenant}{number}" for number in range(count)]
        for payload in payloads:
            self.held.reject(tenant, payload, at_s=where.get("at_s", UNIX_S + self.now))
        return payloads

    async def turn_after(self, seconds: float) -> list[str]:
        """Let time pass and a turn come; return what was put back in it."""
        self.now += seconds
        before = len(self.held.put_back_so_far)
        await self.release.turn()
        return self.held.put_back_so_far[before:]

    async def fail_after(self, *waits_s: float) -> None:
        """Let turns come that each end in an outage."""
        for wait_s in waits_s:
            with pytest.raises(Outage):
                await self.turn_after(wait_s)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


async def test_each_tenant_gets_its_quota_of_the_time_that_has_passed_in_the_order_in_which_it_came() -> None:
    bench = Bench(messages_per_s=2)
    of_a = bench.reject("a", 30, at_s=UNIX_S)
    bench.reject("b", 1, at_s=UNIX_S)
    # It leads from now on: for so long as there is between two turns.
    assert sorted(await bench.turn_after(100)) == sorted([*of_a[: round(2 * EVERY_S)], "b0"])
    assert await bench.turn_after(3) == of_a[10:16]
    assert bench.release.left == 14
    assert await bench.turn_after(60) == of_a[16:]
    assert bench.release.left == 0
    assert bench.statistics.notes[Note.QUOTA_RELEASED] == 31


async def test_metrics_rejected_is_read_once_however_long_it_takes_to_put_back_what_is_there() -> None:
    bench = Bench(messages_per_s=1)
    sent = bench.reject("a", 100)
    for _ in range(25):
        await bench.turn_after(5)
    assert bench.held.put_back_so_far == sent
    assert bench.held.read_so_far == 100


async def test_a_tenant_whose_next_message_must_wait_gets_none_behind_it() -> None:
    bench = Bench(messages_per_s=100, bytes_per_s=2)
    for payload in ("x" * 30, "y", "z"):
        bench.held.reject("a", payload)
    assert await bench.turn_after(5) == ["x" * 30]  # larger than what there is, so it takes from later
    assert await bench.turn_after(9) == []
    assert await bench.turn_after(2) == ["y", "z"]


async def test_what_was_held_for_too_long_is_left_to_the_operator_and_said_before_and_after(
    said: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(messages_per_s=0.1)
    bench.reject("a", 150)
    bench.held.outages = 4
    await bench.fail_after(5, HOLD_S / 2 - 10)
    assert "the oldest have been held" not in said.text
    await bench.fail_after(HOLD_S / 2 - 10, 10)
    assert said.text.count("the oldest have been held for nearly 1800 s") == 1
    assert "rejected replay --reason quota_exceeded" in said.text
    left = bench.release.left
    assert await bench.turn_after(60) == []
    assert f"the last of tenant a: {left} were held for 1800 s" in said.text
    assert f"any more; {left} messages were given up, and stay on metrics.rejected" in said.text
    assert "all messages that were held back" not in said.text


async def test_that_messages_are_given_up_is_said_also_where_turns_are_far_apart(
    said: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(messages_per_s=0.1)
    bench.reject("a", 100)
    await bench.turn_after(5)
    left = bench.release.left
    await bench.turn_after(HOLD_S + 60)
    assert f"the last of tenant a: {left} were held for 1800 s" in said.text


async def test_what_nobody_put_back_while_nobody_led_is_told(said: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.reject("a", 20, at_s=UNIX_S)
    assert await bench.turn_after(HOLD_S + 1) == []
    assert "the last of tenant a: 20 were held for 1800 s" in said.text


async def test_each_leadership_warns_of_its_own(said: pytest.LogCaptureFixture) -> None:
    bench = Bench(messages_per_s=0.1)
    for _ in range(2):
        bench.leads = True
        bench.reject("a", 100)
        bench.held.outages = 2
        await bench.fail_after(5, HOLD_S - 30)
        bench.leads = False
        await bench.turn_after(86_400)
    assert said.text.count("the oldest have been held") == 2


async def test_what_is_more_than_can_be_put_back_in_time_is_given_up_and_said_at_once(
    said: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(messages_per_s=0.1)
    bench.reject("a", 200)
    await bench.turn_after(5)
    assert bench.release.left == 179
    assert "and 20 are more than can be put back in that time" in said.text
    bench.reject("a", 7)
    await bench.turn_after(5)
    assert said.text.count("can be put back in that time") == 1
    await bench.turn_after(TOLD_EVERY_S)
    assert "and 6 are more than can be put back in that time" in said.text


async def test_when_holding_begins_and_ends_it_is_said_once(said: pytest.LogCaptureFixture) -> None:
    bench = Bench(messages_per_s=1)
    bench.reject("a", 9)
    bench.reject("b", 1)
    for _ in range(4):
        await bench.turn_after(2)
    lines = [record.getMessage() for record in said.records]
    assert [line.split(",")[0] for line in lines] == [
        "4 messages are beyond the quota of their tenants (1) and held back",
        "all messages that were held back because of a quota are put back",
    ]


async def test_what_kafka_did_not_mark_is_put_back_again_and_nothing_is_left_out() -> None:
    bench = Bench(messages_per_s=1)
    sent = bench.reject("a", 4)
    bench.held.outages = 1
    with pytest.raises(Outage):
        await bench.turn_after(5)
    assert await bench.turn_after(5) == sent


async def test_a_partition_of_raw_that_takes_nothing_holds_up_no_other() -> None:
    bench = Bench(messages_per_s=2)
    bench.reject("a", 20)
    of_b = bench.reject(ELSEWHERE, 20)
    bench.held.refused = "a0"
    await bench.fail_after(5, 5)
    assert bench.held.put_back_so_far == of_b
    bench.held.refused = ""
    assert await bench.turn_after(5) == [f"a{number}" for number in range(10)]


async def test_also_where_it_has_more_tenants_than_are_tried_at_once() -> None:
    bench = Bench(messages_per_s=2)
    names = [name for name in map("t{}".format, range(800)) if partition_of(name, PARTITIONS) == 0]
    for name in names[: MOST_PLACES + 50]:
        bench.held.reject(name, "refused")
    bench.held.reject(ELSEWHERE, "taken")
    bench.held.refused = "refused"
    await bench.fail_after(5, 5)
    assert bench.held.put_back_so_far == ["taken"]


async def test_after_an_outage_a_minute_of_the_quota_comes_at_once_and_no_more() -> None:
    bench = Bench(messages_per_s=2)
    bench.reject("a", 1_000)
    await bench.turn_after(5)
    assert len(await bench.turn_after(HOLD_S / 2)) == 2 * MOST_ELAPSED_S


async def test_what_is_given_up_of_a_topic_without_a_tenant_is_told(said: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.held.reject("", "x")
    await bench.turn_after(HOLD_S + 1)
    assert "the last of tenant : 1 were held for 1800 s" in said.text


async def test_what_was_not_read_to_the_end_is_not_told_as_put_back(said: pytest.LogCaptureFixture) -> None:
    bench = Bench(messages_per_s=0.1)
    bench.reject("a", 50)
    await bench.turn_after(5)
    bench.held.make_anew()
    bench.reject("a", 10)
    await bench.turn_after(20)
    bench.held.away = True
    with pytest.raises(Outage):
        await bench.turn_after(5)
    assert "all messages that were held back" not in said.text
    assert said.text.count("is not the log that was read") == 1


@pytest.mark.parametrize("windows", [1.5, 3.0])
async def test_a_clock_that_was_ahead_when_it_began_to_lead_counts_until_it_is_mended(windows: float) -> None:
    bench = Bench(messages_per_s=1)
    bench.clock_ahead_s = windows * HOLD_S
    bench.held.newest_ms = round(UNIX_S * 1_000)
    await bench.turn_after(5)
    bench.clock_ahead_s = 0.0
    sent = bench.reject("a", 3)
    await bench.turn_after(5)
    assert bench.held.put_back_so_far == sent


async def test_a_worker_that_does_not_lead_puts_nothing_back_and_later_looks_at_everything() -> None:
    bench = Bench(messages_per_s=1)
    bench.reject("a", 1)
    bench.leads = False
    assert await bench.turn_after(5) == []
    bench.leads = True
    assert await bench.turn_after(5) == ["a0"]
    bench.leads = False
    bench.held.reject("a", "1", at_s=UNIX_S + bench.now)
    await bench.turn_after(5)
    bench.leads = True
    bench.held.read_so_far = 0
    assert await bench.turn_after(5) == ["1"]
    assert bench.held.read_so_far == 2


async def test_who_leads_no_more_ends_in_the_middle_of_a_turn() -> None:
    bench = Bench(messages_per_s=10_000)
    bench.reject("a", 5_000)

    async def put_back(batch: Sequence[Rejected]) -> None:
        bench.held.put_back_so_far += [each.body.payload or "" for each in batch]
        bench.leads = False

    # Another one leads from the first batch on.
    bench.held.put_back = put_back  # type: ignore[method-assign] # of this bench alone
    assert len(await bench.turn_after(5)) == MOST_PLACES


async def test_what_somebody_marked_meanwhile_is_not_put_back() -> None:
    bench = Bench(messages_per_s=1)
    bench.reject("a", 10)
    await bench.turn_after(5)
    bench.held.marked.add(Coordinate(0, 6, 0))
    assert await bench.turn_after(5) == ["a5", "a7", "a8", "a9"]


async def test_a_topic_made_anew_is_looked_at_from_its_beginning() -> None:
    bench = Bench(messages_per_s=2)
    bench.reject("a", 20)
    await bench.turn_after(5)
    bench.held.make_anew()
    anew = bench.reject("b", 5)
    await bench.turn_after(5)
    assert await bench.turn_after(5) == anew


async def test_a_topic_made_anew_and_grown_as_long_is_known_by_what_stands_there() -> None:
    bench = Bench(messages_per_s=2)
    bench.reject("a", 20)
    await bench.turn_after(5)
    bench.held.make_anew()
    anew = bench.reject("b", 20)
    for _ in range(4):
        await bench.turn_after(5)
    assert bench.held.put_back_so_far[10:] == anew


@pytest.mark.parametrize("ahead_s", [7_200.0, -7_200.0])
async def test_a_clock_that_jumps_while_it_leads_changes_nothing(ahead_s: float) -> None:
    bench = Bench(messages_per_s=1)
    sent = bench.reject("a", 20)
    await bench.turn_after(5)
    bench.clock_ahead_s = ahead_s
    await bench.turn_after(5)
    bench.clock_ahead_s = 0.0
    for _ in range(2):
        await bench.turn_after(5)
    assert bench.held.put_back_so_far == sent


async def test_a_clock_that_is_behind_makes_nothing_young_again() -> None:
    bench = Bench()
    bench.clock_ahead_s = -2 * HOLD_S
    bench.reject("a", 5, at_s=UNIX_S - HOLD_S - 60)
    bench.held.newest_ms = round(UNIX_S * 1_000)
    assert await bench.turn_after(5) == []


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


def test_by_default_nothing_is_released_and_without_a_quota_what_was_held_before() -> None:
    def release(**settings: str) -> object:
        return release_of(Settings.from_mapping(settings), Statistics(), lambda: True)

    assert release() is None
    assert release(QUOTA_MESSAGES_PER_S="5") is None
    assert release(QUOTA_ACTION="hold") is not None
    assert release(QUOTA_MESSAGES_PER_S="5", QUOTA_ACTION="hold") is not None
