"""What counting for operators costs a message: the three agents' own work with it and without, in turns.

Between fakes in memory, in one process: latency, chunk sizes, the age of records, devices, the busiest
tenants and what is rejected are noted, or none of it is. What one chunk adds is told alone as well, since two
turns on a busy machine differ by more than that. The libraries between the agents and the servers are left
out, although they take most of a worker's CPU: so the share that is told is more than that of a real worker.
A page of ``/metrics`` is made as well, of 64 partitions; what a page costs, whoever scrapes it pays once in
15 seconds or so.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP

from agents.handoff import Handoff
from agents.refine import Refinery
from benchmarks.generator import TENANTS
from benchmarks.material import Mix, publications, tenants
from benchmarks.report import report, say
from streams.counters import Statistics
from streams.dashboard.busiest import Busiest
from streams.dashboard.refused import Refused
from streams.database.tenants import FakeTenants
from streams.errors import ConnectionLost, MetricStreamsError
from streams.faust_app import StreamsApp
from streams.ingress.flow import Flow
from streams.ingress.testing import FakeChunkWriter
from streams.kafka.positions import Cursor, Position
from streams.kafka.record_loop import Record
from streams.kafka.testing import FakeTopics
from streams.laravel.testing import FakeJobQueue, FakeReplays
from streams.last_seen.table import DeviceTables
from streams.mqtt.transport import PUBACK, Publication, Token
from streams.settings import Settings
from streams.timings import HANDOFF, INGRESS, REFINE, Timings
from streams.web.lags import Lag
from streams.web.prometheus import page
from streams.web.shared import PartHealth
from streams.web.worker_metrics import AskedFigures, worker_metrics
from streams.wire.unique import decode_origin
from tables.testing import FakeSeen

BATCHES = (1, 10, 100, 500)
"""Messages that one read brings; a chunk for each partition of them."""
PARTITIONS = 64
CHUNKS_NOTED = 5_000
SCRAPED_EVERY_S = 15
BEGIN_NS, NS_PER_MS = 1_795_478_400 * 10**9, 10**6
"""The time of the first message (``benchmarks/material.py``), and how far apart they are."""


class NoTimings(Timings):
    """Notes nothing."""

    def passed(self, stage: str, messages: int, arrived: float | str | None, now: float) -> None:
        """Do nothing."""


class NoDevices(DeviceTables):
    """Notes nothing."""

    def note(self, *_: object) -> None:
        """Do nothing."""


class NoTenants(Busiest):
    """Notes nothing."""

    def note(self, *_: object) -> None:
        """Do nothing."""


class NoneRefused(Refused):
    """Notes nothing."""

    def note(self, *_: object) -> None:
        """Do nothing."""


def everything() -> Statistics:
    """Return statistics that note all that operators are shown."""
    return Statistics()


def nothing() -> Statistics:
    """Return statistics that note none of it."""
    return Statistics(
        timings=NoTimings(), devices=NoDevices(), busy_tenants=NoTenants(), refused=NoneRefused()
    )


class Line:
    """A connection that brings what is given to it, and is over then."""

    protocol, session_present = "5", True

    def __init__(self, reads: Iterator[list[Publication]]) -> None:
        self.closed: asyncio.Future[MetricStreamsError] = asyncio.get_running_loop().create_future()
        self._reads = reads

    async def open(self, past: object = None) -> None:
        """Do nothing."""

    async def receive(self, timeout_s: float | None) -> list[Publication]:  # noqa: ARG002 - the interface's
        """Return what the next read brings."""
        await asyncio.sleep(0)
        read = next(self._reads, None)
        if read is None:
            self.closed.set_result(ConnectionLost("all is read"))
            await asyncio.Event().wait()  # whoever reads is cancelled
            return []
        return read

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Do nothing."""

    def drop(self, reason: MetricStreamsError) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def waiting_qos0(self) -> int:
        """Count nothing."""
        return 0

    def has_more(self) -> bool:
        """Tell that a read is all there is."""
        return False

    def wake(self) -> None:
        """Do nothing."""


def main(arguments: list[str]) -> None:
    """Print one line of JSON: CPU µs a message with and without, by messages of a read; ms of a page."""
    parser = argparse.ArgumentParser(prog="./dev bench bookkeeping", description=__doc__)
    parser.add_argument("--messages", type=int, default=4_000, help="in each turn (%(default)s)")
    parser.add_argument("--turns", type=int, default=31, help="with and without (%(default)s)")
    options = parser.parse_args(arguments)
    ids = tenants(TENANTS)
    messages = publications(options.messages, Mix(ids))
    figures: dict[str, object] = {}
    for size in BATCHES:
        with say(f"{size} messages a read"):
            some = messages[: max(size, min(len(messages), size * 400))]
            figures[f"reads_of_{size}"] = _compared(some, size, ids, options.turns)
    figures["noted_us_a_chunk"] = round(_noted_us(options.turns), 2)
    page_ms = _page_ms(options.turns)
    figures["page"] = {
        "cpu_ms": round(page_ms, 2),
        "percent_of_a_core": round(page_ms / 1e3 / SCRAPED_EVERY_S * 100, 3),
        "scraped_every_s": SCRAPED_EVERY_S,
    }
    report("bookkeeping", {"unit": "CPU µs a message", "messages": options.messages, **figures})


def _compared(
    messages: Sequence[tuple[str, bytes]], size: int, ids: Sequence[str], turns: int
) -> dict[str, float]:
    spent: dict[str, list[float]] = {"on": [], "off": []}
    for _ in range(turns):
        for how, statistics in (("on", everything()), ("off", nothing())):
            cpu_s = asyncio.run(_carried(messages, size, ids, statistics))
            spent[how].append(cpu_s / len(messages) * 1e6)
    on, off = min(spent["on"]), min(spent["off"])
    # A turn with and the one after it without have met the same machine.
    pairs = [with_ / without - 1 for with_, without in zip(spent["on"], spent["off"], strict=True)]
    return {
        "on": round(on, 2),
        "off": round(off, 2),
        "more_percent": round((on / off - 1) * 100, 2),
        "more_percent_median": round(median(pairs) * 100, 2),
    }


async def _carried(
    messages: Sequence[tuple[str, bytes]], size: int, ids: Sequence[str], statistics: Statistics
) -> float:
    """Carry messages through all agents; return the CPU seconds that this took."""
    settings = Settings(chunk_linger_ms=0.0)
    reads = list(_reads(messages, size))
    began = time.process_time()
    writer = FakeChunkWriter()
    await writer.open()
    carrier = Flow(settings, statistics, Line(iter(reads)), writer)
    try:
        await carrier.run()
    except ConnectionLost:
        await carrier.finish()
    topics = FakeTopics()
    refinery = Refinery(
        settings,
        seen=FakeSeen(),
        tenants=FakeTenants(set(ids)),
        emit=topics.emit,
        statistics=statistics,
    )
    notes_age = not isinstance(statistics.timings, NoTimings)
    cursors: dict[int, Cursor] = {}
    for record in writer.log:
        cursor = cursors.setdefault(record.partition, _placed())
        cursor.fetched(record.offset, record.timestamp_s if notes_age else None)
        await refinery.refine([Record(record.partition, record.offset, record.value, record.headers)])
        cursor.done(record.offset)
    handoff = Handoff(
        FakeJobQueue(max_jobs=10**9),
        FakeReplays(statistics),
        topic=settings.unique_topic,
        derive_ids=True,
        statistics=statistics,
    )
    cursor = _placed()
    for offset, emitted in enumerate(topics.all(settings.unique_topic)):
        cursor.fetched(offset, 0.0 if notes_age else None)
        partition = decode_origin(emitted.value).partition
        await handoff.hand_off([Record(partition, offset, emitted.value, emitted.headers)])
        cursor.done(offset)
    return time.process_time() - began


def _noted_us(turns: int) -> float:
    """Return the CPU µs of what is noted of one chunk at all stages, alone, so that nothing stirs it."""
    timings, received_at, now = Timings(), "2026-11-24T00:00:00.123456Z", BEGIN_NS / 1e9 + 1
    spent = []
    for _ in range(turns):
        cursor = _placed()
        began = time.process_time()
        for offset in range(CHUNKS_NOTED):
            timings.passed(INGRESS, 100, now - 1, now)
            timings.passed(REFINE, 100, received_at, now)
            timings.passed(HANDOFF, 100, received_at, now)
            cursor.times.append((offset, now))
            cursor.times.popleft()
        spent.append(time.process_time() - began)
    return min(spent) / CHUNKS_NOTED * 1e6


def _reads(messages: Sequence[tuple[str, bytes]], size: int) -> Iterator[list[Publication]]:
    for first in range(0, len(messages), size):
        yield [
            Publication(topic, payload, BEGIN_NS + first * NS_PER_MS, 1, PUBACK + number % 65_535 + 1)
            for number, (topic, payload) in enumerate(messages[first : first + size])
        ]


def _placed() -> Cursor:
    cursor = Cursor()
    cursor.place(Position(0))
    return cursor


def _page_ms(turns: int) -> float:
    """Return the CPU milliseconds of a page of a worker that holds all partitions."""
    statistics, settings = Statistics(), Settings()
    tps = [
        TP(topic, number)
        for topic in (settings.raw_topic, settings.unique_topic)
        for number in range(PARTITIONS)
    ]
    for tp in tps:
        statistics.book.page(*tp)
    seen = AskedFigures(
        {name: PartHealth(up=True, detail="") for name in ("kafka", "mqtt", "redis", "postgres")},
        {tp: Lag(5, 0) for tp in tps},
        dict.fromkeys(tps, 0.0),
        None,
        {},
    )
    app = SimpleNamespace(
        settings=settings,
        statistics=statistics,
        gauges={},
        carries_mqtt=True,
        rebalancing_count=1,
    )
    spent = []
    for _ in range(turns):
        began = time.process_time()
        page(worker_metrics(cast("StreamsApp", cast("Any", app)), seen))
        spent.append(time.process_time() - began)
    return min(spent) * 1e3
