"""What each step costs a message, alone and in one process: CPU, for chunks of 1 to 500 messages.

Pure steps in the order in which a message passes them, then the agents' own work around them between fakes
in memory. Left out: every library between the agents and the servers, which is what `pipeline` has on top.
The chunks are of messages that devices really send (``benchmarks/material.py``), all different.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ParamSpec, TypeVar

from agents.dedupe import accepted, dedupe
from agents.examine import examine, read_chunk
from agents.handoff import Handoff, jobs_of
from agents.refine import Refinery
from benchmarks.generator import TENANTS
from benchmarks.material import Mix, publications, tenants
from benchmarks.report import report, say
from benchmarks.stack import PARTITIONS
from streams.counters import Statistics
from streams.database.tenants import FakeTenants
from streams.ingress.chunking import Chunker, Linger
from streams.kafka.record_loop import Record
from streams.kafka.testing import FakeTopics
from streams.laravel.replays import ChunkId
from streams.laravel.testing import FakeJobQueue, FakeReplays
from streams.models import Origin
from streams.settings import Settings
from streams.wire import raw, unique
from streams.wire.decision import FORMAT, Decision, digest, encode
from tables.state import SeenState
from tables.testing import FakeSeen

P = ParamSpec("P")
T = TypeVar("T")

CHUNKS = (1, 10, 100, 200, 500)
MANY = 10**9
RECEIVED_AT, SKEW_S, EPOCH = "2026-11-24T14:00:00.123456Z", 86_400.0, 1
Publications = Sequence[tuple[str, bytes]]


def main(arguments: list[str]) -> None:
    """Print one line of JSON with CPU µs a message, by chunk size and step."""
    parser = argparse.ArgumentParser(prog="./dev bench steps", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="for each chunk size (%(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of which the best counts (%(default)s)")
    options = parser.parse_args(arguments)
    ids = tenants(TENANTS)
    messages = publications(options.messages, Mix(ids))
    figures = {}
    for size in CHUNKS:
        with say(f"chunks of {size}"):
            turns = [_turn(list(_cut(messages, size)), ids) for _ in range(options.turns)]
        best = {step: min(turn[step] for turn in turns) for step in turns[0]}
        figures[f"chunks_of_{size}"] = {step: round(us, 2) for step, us in best.items()}
    report("steps", {"unit": "CPU µs a message", "messages": options.messages, **figures})


def _cut(messages: Publications, size: int) -> Iterator[Publications]:
    return (messages[first : first + size] for first in range(0, len(messages), size))


def _turn(chunks: Sequence[Publications], ids: Sequence[str]) -> dict[str, float]:
    stopwatch = Stopwatch()
    chunker = Chunker[None](
        partitions=PARTITIONS,
        max_messages=max(CHUNKS),
        max_bytes=512 * 1024,
        max_waiting=MANY,
        linger=Linger(0.0, 0.0),
        new_ticket=lambda: None,
    )
    values = [_ingress(stopwatch, chunker, chunk) for chunk in chunks]
    _pure(stopwatch, values)
    asyncio.run(_agents(stopwatch, values, ids))
    return stopwatch.us_a_message(sum(map(len, chunks)))


class Stopwatch:
    """Adds up the CPU time of what is called through it, by name."""

    def __init__(self) -> None:
        self._spent_s: dict[str, float] = defaultdict(float)

    def __call__(self, name: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a step and return what it returns."""
        began = time.process_time()
        outcome = step(*args, **kwargs)
        self.add(name, time.process_time() - began)
        return outcome

    def add(self, name: str, seconds: float) -> None:
        """Add some CPU time."""
        self._spent_s[name] += seconds

    def us_a_message(self, messages: int) -> dict[str, float]:
        """Return all times, in microseconds a message."""
        return {name: spent_s / messages * 1e6 for name, spent_s in self._spent_s.items()}


def _ingress(stopwatch: Stopwatch, chunker: "Chunker[None]", chunk: Publications) -> bytes:
    encoded = stopwatch(
        "encode_raw",
        lambda: [raw.encode_message(topic, payload, RECEIVED_AT, 1) for topic, payload in chunk],
    )
    stopwatch("gather", _gather, chunker, chunk, encoded)
    return stopwatch("encode_raw", raw.join, encoded)


def _gather(chunker: "Chunker[None]", chunk: Publications, encoded: Iterable[bytes]) -> None:
    for (topic, _), one in zip(chunk, encoded, strict=True):
        chunker.add(topic, one)
    chunker.rest()


def _pure(stopwatch: Stopwatch, values: Iterable[bytes]) -> None:
    state = SeenState(window_s=3_600, max_ids=10**7)
    for offset, value in enumerate(values):
        origin = Origin(0, offset)
        messages, _ = stopwatch("decode_raw", read_chunk, value)
        examined = stopwatch("examine", examine, messages, origin, SKEW_S)
        verdict = stopwatch("dedupe", dedupe, examined.candidates, state.partition(0), 0.0)
        decision = Decision(
            FORMAT, EPOCH, time.time(), digest(value), verdict.duplicates, [], verdict.fingerprints
        )
        stopwatch("record", encode, decision)
        stopwatch("index", state.add, origin, decision)
        candidates = stopwatch("accepted", accepted, examined.candidates, verdict.duplicates)
        readings = [candidate.reading for candidate in candidates]
        sent = stopwatch("encode_unique", unique.encode, origin, readings)
        received = stopwatch("decode_unique", unique.decode, sent)
        stopwatch("jobs", jobs_of, received, ChunkId(EPOCH, offset, decision.digest), derive_ids=True)


async def _agents(stopwatch: Stopwatch, values: Iterable[bytes], ids: Sequence[str]) -> None:
    topics, settings = FakeTopics(), Settings()
    refinery = Refinery(
        settings,
        seen=FakeSeen(),
        tenants=FakeTenants(set(ids)),
        emit=topics.emit,
        statistics=Statistics(),
    )
    began = time.process_time()
    for offset, value in enumerate(values):
        await refinery.refine([Record(0, offset, value, {})])
    stopwatch.add("agent_refine", time.process_time() - began)
    await _hand_off(stopwatch, topics, settings)


async def _hand_off(stopwatch: Stopwatch, topics: FakeTopics, settings: Settings) -> None:
    statistics = Statistics()
    handoff = Handoff(
        FakeJobQueue(max_jobs=10**9),
        FakeReplays(statistics),
        topic="metrics.unique",
        derive_ids=True,
        statistics=statistics,
    )
    began = time.process_time()
    for offset, record in enumerate(topics.all(settings.unique_topic)):
        await handoff.hand_off([Record(0, offset, record.value, record.headers)])
    stopwatch.add("agent_handoff", time.process_time() - began)
