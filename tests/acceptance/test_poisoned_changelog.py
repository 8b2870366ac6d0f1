"""Rows in the changelog that are none of ours: a worker starts all the same, and knows what ours say."""

import json
import math
import subprocess
from collections.abc import Iterable

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from streams.models import Origin, Reason, Stage
from streams.settings import Settings
from streams.topics import seen_changelog
from streams.wire import unique
from streams.wire.decision import FORMAT, LARGEST_EPOCH, LARGEST_FORMAT, Decision, Refusal, encode, encode_key
from tables.skipped_rows import NAMED
from tests.acceptance.conftest import Pipeline
from tests.parts.eventually import eventually
from tests.parts.process import PartFailedError, find_program
from tests.parts.topics import group_lag, read_topic
from tests.parts.worker import Worker

FLOOD = 10_000
LYING = Decision(FORMAT, LARGEST_EPOCH, 1e18, b"8 bytes.", [], [], b"i" * 16 + b"content.")

Row = tuple[bytes, bytes | None]


def unreadable(partition: int) -> list[Row]:
    """Return rows that are no decision of this partition."""
    other, good = Origin((partition + 1) % 4, 10**6), encode_key(Origin(partition, 500))
    negative = [Refusal(-1, Stage.PARSE, Reason.PAYLOAD_NOT_JSON, "")]
    return [
        (b"", encode(LYING)),
        (b"\xff\0soon", encode(LYING)),
        (b"%d-" % partition + b"9" * 5_000, encode(LYING)),
        (encode_key(Origin(partition, 2**63)), encode(LYING)),
        (encode_key(other), encode(LYING)),
        (encode_key(other), None),
        (good, b""),
        (good, b"\x91" * 100_000),
        (good, encode(msgspec.structs.replace(LYING, format=LARGEST_FORMAT + 1))),
        (good, encode(msgspec.structs.replace(LYING, decided_at=math.nan))),
        (good, encode(msgspec.structs.replace(LYING, refusals=negative))),
    ]


def beyond_the_log(partition: int) -> list[Row]:
    """Return rows that can be read, about records beyond metrics.raw; the last has the largest offset."""
    return [(encode_key(Origin(partition, offset)), encode(LYING)) for offset in (10**6, 2**47 - 1)]


async def write(pipeline: Pipeline, partition: int, rows: Iterable[Row]) -> None:
    topic = seen_changelog(Settings.from_mapping(pipeline.environment))
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka.bootstrap) as producer:
        for key, value in rows:
            await producer.send(topic, key=key, value=value, partition=partition)


def publish(pipeline: Pipeline, name: str) -> None:
    program = find_program("mosquitto_pub", package="mosquitto-clients")
    topic = f"metrics/{pipeline.tenants[0]}/edge-1/cpu"
    where = ["-p", str(pipeline.mosquitto.port), "-q", "1", "-t", topic]
    subprocess.run([program, *where, "-m", json.dumps({"value": 1, "dedupe_id": name})], check=True)


async def accepted(pipeline: Pipeline) -> dict[tuple[Origin, int], str | None]:
    """Return the dedupe id of every message on metrics.unique; a chunk that was emitted again counts once."""
    records = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.unique")
    chunks = [unique.decode(record.value) for record in records]
    return {
        (chunk.origin, reading.index): reading.dedupe_id for chunk in chunks for reading in chunk.readings
    }


async def carried(pipeline: Pipeline, *names: str) -> int:
    """Wait until these messages alone are on metrics.unique, and committed; return their partition."""

    async def found() -> dict[tuple[Origin, int], str | None] | None:
        messages = await accepted(pipeline)
        return messages if len(messages) >= len(names) else None

    async def committed() -> bool:
        topics = [f"{pipeline.topics}.raw"]
        return await group_lag(pipeline.kafka.bootstrap, pipeline.environment["CONSUMER_GROUP"], topics) == 0

    messages = await eventually(found, timeout_s=30, interval_s=0.2)
    assert messages is not None
    assert list(messages.values()) == list(names)
    await eventually(committed, timeout_s=30, interval_s=0.2)
    return next(origin.partition for origin, _ in messages)


def said(worker: Worker, words: str) -> list[str]:
    return [line for line in worker.log_path.read_text(errors="replace").splitlines() if words in line]


@pytest.mark.parametrize(
    "beyond",
    [pytest.param(False, marks=pytest.mark.long, id="unreadable"), pytest.param(True, id="beyond the log")],
)
async def test_a_worker_starts_over_poisoned_rows_says_so_and_still_knows_the_good_ones(
    pipeline: Pipeline, *, beyond: bool
) -> None:
    first = pipeline.worker()
    publish(pipeline, "a")
    partition = await carried(pipeline, "a")
    await write(pipeline, partition, unreadable(partition))
    publish(pipeline, "b")
    await carried(pipeline, "a", "b")
    first.stop()
    await write(pipeline, partition, beyond_the_log(partition) if beyond else [(b"", b"")] * FLOOD)

    second = pipeline.worker()
    named = said(second, "skipped a row of the changelog")
    bad = len(unreadable(partition)) + (0 if beyond else FLOOD)
    assert len(named) == NAMED
    assert len(said(second, f"skipped {bad} rows of the changelog")) == 1
    assert len(said(second, "but refine has decided on offset")) == int(beyond)
    for name in ("a", "b", "c", "a"):
        publish(pipeline, name)
    publish(pipeline, "d")
    await carried(pipeline, "a", "b", "c", "d")

    pipeline.ingest()

    async def landed() -> bool:
        return sorted(str(row["dedupe_id"]) for row in await pipeline.rows()) == ["a", "b", "c", "d"]

    await eventually(landed, timeout_s=30)


async def test_a_row_of_a_newer_version_ends_the_start_and_nothing_is_taken_for_a_replay(
    pipeline: Pipeline,
) -> None:
    first = pipeline.worker()
    publish(pipeline, "a")
    partition = await carried(pipeline, "a")
    first.stop()
    newer = encode_key(Origin(partition, 500)), encode(msgspec.structs.replace(LYING, format=FORMAT + 1))
    await write(pipeline, partition, [newer])
    with pytest.raises(PartFailedError, match="this version reads up to"):
        pipeline.worker()
