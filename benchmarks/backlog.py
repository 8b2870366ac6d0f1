"""A backlog in metrics.raw: how fast workers carry it to Redis, and whether their memory stays flat.

The backlog is written before the workers start, by ingress's own chunker and writer, in chunks of one size.
Measured from when the workers are ready until the last message is in a job in Redis; what they carried
before they were ready is left out of messages/s. CPU and memory are of the workers alone, memory once a
second. Dedupe remembers so few ids that its index is full soon: what grows after that would be a leak. Left
out: MQTT, and what happens behind the queue.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator

from benchmarks.generator import TENANTS
from benchmarks.jobs import JobCounter
from benchmarks.material import Mix, publications, tenants
from benchmarks.report import report, say
from benchmarks.stack import Run, add_settings, given_settings, stack
from benchmarks.usage import Usage
from streams.ingress.chunk_writer import KafkaChunkWriter, Written
from streams.ingress.chunking import Chunk, Chunker, Linger
from streams.settings import Settings
from streams.wire.headers import headers
from streams.wire.raw import encode_message

STALLED_S = 60.0
LONG_S = 3_600.0
AT_A_TIME = 10_000
UNWRITTEN_MOST = 200
RECEIVED_AT = "2026-11-24T14:00:00.123456Z"


def main(arguments: list[str]) -> None:
    """Print one line of JSON for each number of workers and each size of chunk."""
    parser = argparse.ArgumentParser(prog="./dev bench backlog", description=__doc__)
    parser.add_argument("--messages", type=int, default=2_000_000, help="of the backlog (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="runs with so many (1)")
    parser.add_argument(
        "--chunk", type=int, nargs="+", default=[500], help="runs with chunks of so many (500)"
    )
    parser.add_argument("--ids", type=int, default=300_000, help="that dedupe remembers (%(default)s)")
    add_settings(parser)
    options = parser.parse_args(arguments)
    figures: dict[str, object] = {}
    with stack() as parts:
        for workers in options.workers:
            for size in options.chunk:
                name = f"workers_{workers}_chunks_of_{size}"
                settings = {"CHUNK_MAX_MESSAGES": str(size), "DEDUPE_MAX_IDS": str(options.ids)}
                settings |= given_settings(options)
                with parts.run(**settings) as run:
                    figures[name] = measured(run, workers, options.messages)
    report("backlog", {"messages": options.messages, "ids": options.ids, **figures})


def measured(run: Run, workers: int, messages: int) -> dict[str, object]:
    """Write a backlog, and let workers carry it."""
    what = f"{messages:,} messages in chunks of {run.settings.chunk_max_messages}"
    with say(f"writing {what}"):
        asyncio.run(write(run.settings, Mix(tenants(TENANTS)), messages))
    with (
        say(f"carrying {what}, workers: {workers}"),
        JobCounter(run.redis_url, run.queue) as jobs,
        run.working(workers),
        Usage(run.pids, run.servers) as usage,
    ):
        began, before = time.time(), jobs.messages
        ended = jobs.wait_for(messages, STALLED_S)
        seconds, carried = ended - began, messages - before
        usage.stop()
        return {
            "messages_a_s": round(carried / seconds),
            "seconds": round(seconds, 2),
            "carried_while_starting": before,
            **usage.figures(max(1, carried)),
            "jobs": jobs.jobs,
        }


async def write(settings: Settings, mix: Mix, messages: int) -> None:
    """Write a backlog as ingress does, in chunks as large as the settings allow."""
    writer = KafkaChunkWriter(settings)
    await writer.open()
    try:
        unwritten: set[Written] = set()
        for chunk in _chunks(settings, mix, messages):
            record = chunk.partition, chunk.value(), headers(len(chunk.messages))
            unwritten.add(await writer.write(*record))
            if len(unwritten) >= UNWRITTEN_MOST:
                await asyncio.gather(*unwritten)
                unwritten.clear()
        await asyncio.gather(*unwritten)
    finally:
        await writer.close()


def _chunks(settings: Settings, mix: Mix, messages: int) -> Iterator["Chunk[None]"]:
    chunker = Chunker[None](
        partitions=settings.topic_partitions,
        max_messages=settings.chunk_max_messages,
        max_bytes=settings.chunk_max_bytes,
        max_waiting=messages,
        linger=Linger(LONG_S, LONG_S),
        new_ticket=lambda: None,
    )
    for seed, first in enumerate(range(0, messages, AT_A_TIME)):
        for topic, payload in publications(min(AT_A_TIME, messages - first), mix, seed):
            chunker.add(topic, encode_message(topic, payload, RECEIVED_AT, 1))
        yield from chunker.due(0.0, 0)
    yield from chunker.rest()
