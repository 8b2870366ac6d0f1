"""A tenant at its quota, on a real pipeline: it slows no other, and nothing of it is lost."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from streams.wire import raw
from streams.wire.headers import read_over_quota
from tests.acceptance.conftest import Pipeline
from tests.acceptance.rejections import (
    add_neighbour,
    counted,
    flowed,
    publish,
    rejected_json,
    rows_stand,
    settled,
)
from tests.parts.eventually import eventually
from tests.parts.topics import read_topic

IDS, ROUNDS = 40, 50  # so that a chunk has several values of an id
BURST = 100
SINGLE = 300
"""Messages without an id: each is a row."""
QUOTA = {"QUOTA_MESSAGES_PER_S": "10", "QUOTA_BURST_S": "10"}


def corrections(tenant: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each id as often as there are rounds, with another value in each."""
    return [
        (f"metrics/{tenant}/edge-1/cpu", {"value": round_, "dedupe_id": f"id-{number}"})
        for round_ in range(ROUNDS)
        for number in range(IDS)
    ]


@pytest.mark.long
async def test_what_is_over_the_quota_is_put_back_and_the_last_value_of_each_id_stands(
    pipeline: Pipeline,
) -> None:
    hostile, honest = pipeline.tenants
    neighbour = await add_neighbour(pipeline, hostile)  # whose marker is never beyond a quota
    pipeline.worker(**QUOTA)
    pipeline.ingest()
    topic = f"metrics/{honest}/edge-1/cpu"
    await asyncio.gather(
        publish(pipeline, *corrections(hostile)),
        publish(pipeline, *[(topic, {"value": number}) for number in range(BURST // 2)]),
    )
    await settled(pipeline, IDS * ROUNDS - 2 * BURST)
    await flowed(pipeline, neighbour, honest)
    found = Counter(row["tenant_id"] for row in await pipeline.rows())
    assert found[honest] == BURST // 2
    assert found[hostile] < 2 * BURST
    over = await counted(pipeline, "--reason", "quota_exceeded", "--tenant", hostile)
    assert over == await counted(pipeline) > IDS * ROUNDS - 2 * BURST

    (told,) = await rejected_json(pipeline, "replay", "--reason", "quota_exceeded", "--yes", "--json")
    assert told["replayed"] + told["superseded"] == over
    await rows_stand(pipeline, IDS + BURST // 2)
    await flowed(pipeline, neighbour, honest)
    values = {row["dedupe_id"]: row["value"] for row in await pipeline.rows() if row["tenant_id"] == hostile}
    assert values == {f"id-{number}": ROUNDS - 1 for number in range(IDS)}
    assert await counted(pipeline) == 0


async def test_what_is_held_back_comes_by_itself_also_after_a_kill_and_slows_no_other_tenant(
    pipeline: Pipeline,
) -> None:
    hostile, honest = pipeline.tenants
    neighbour = await add_neighbour(pipeline, hostile)
    held = {"QUOTA_MESSAGES_PER_S": "60", "QUOTA_BURST_S": "2", "QUOTA_ACTION": "hold"}
    worker = pipeline.worker(**held)
    pipeline.ingest()
    sent = corrections(hostile)
    single = [(f"metrics/{hostile}/edge-2/cpu", {"value": number}) for number in range(SINGLE)]
    await publish(pipeline, *sent, *single)
    await settled(pipeline, len(sent) - 2 * BURST)
    await flowed(pipeline, neighbour, honest)  # before what is held back: that takes half a minute

    async def is_releasing() -> bool:
        return await counted(pipeline) < await counted(pipeline, "--all")

    assert await counted(pipeline) > 0
    await eventually(is_releasing, 60)
    worker.kill()
    pipeline.worker(**held)

    async def all_is_put_back() -> bool:
        return await counted(pipeline) == 0

    await eventually(all_is_put_back, 180, interval_s=1.0)
    await flowed(pipeline, neighbour, honest)
    rows = [row for row in await pipeline.rows() if row["tenant_id"] == hostile]
    values = {row["dedupe_id"]: row["value"] for row in rows if row["agent_id"] == "edge-1"}
    assert values == {f"id-{number}": ROUNDS - 1 for number in range(IDS)}
    assert sorted(row["value"] for row in rows if row["agent_id"] == "edge-2") == list(range(SINGLE))


async def test_a_message_beyond_the_quota_stands_in_the_chunk_in_which_it_came(pipeline: Pipeline) -> None:
    """So a replay finds it between those that came before it and after."""
    hostile, _ = pipeline.tenants
    pipeline.worker(**QUOTA)
    sent = corrections(hostile)
    await publish(pipeline, *sent)
    await settled(pipeline, len(sent) - 2 * BURST)
    records = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.raw")
    came = [message.payload for record in records for message in raw.decode(record.value)]
    assert came == [json.dumps(body) for _, body in sent]
    over = sum(len(read_over_quota(dict(record.headers))) for record in records)
    assert over == await counted(pipeline) > len(sent) - 2 * BURST
