"""``metric-streams partitions`` on a real pipeline: nothing is lost, doubled or overtaken by it."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid

import pytest

from streams.ingress.chunking import partition_of
from streams.kafka.admin import count_partitions
from streams.settings import Settings
from tests.acceptance.conftest import PARTITIONS, Pipeline
from tests.acceptance.growing import (
    Devices,
    accepted,
    all_landed,
    command,
    handed_off,
    publishing,
    sends_more,
    tenants_of,
)
from tests.acceptance.rejections import add_tenant, flowed, publish, rejected_json, rows_stand, settled
from tests.parts.commands import REPOSITORY
from tests.parts.eventually import eventually
from tests.parts.ports import free_port
from tests.parts.variants import long

MORE = 2 * PARTITIONS
COUNT = str(MORE)
SEND = "aiokafka:AIOKafkaProducer.send"
ADD, LAST_ADDED = "streams.growth.growth:add_partitions", 8
"""Changelog and devices before what they hold is copied, then every topic, metrics.raw as the last."""


async def grown(pipeline: Pipeline) -> None:
    """Add partitions as docs/operations.md says, while no worker runs."""
    code, told = await command(pipeline, "worker", "--drain", "-l", "info", WEB_PORT=str(free_port()))
    assert code == 0, told
    code, told = await command(pipeline, "partitions", COUNT, "--yes")
    assert code == 0, told
    assert f"TOPIC_PARTITIONS={COUNT}" in told
    pipeline.environment["TOPIC_PARTITIONS"] = COUNT


async def stands(pipeline: Pipeline) -> set[int]:
    """Return how many partitions the topics have."""
    return set((await count_partitions(Settings.from_mapping(pipeline.environment))).values())


async def is_refused(pipeline: Pipeline, count: int, *told: str) -> None:
    """See that a worker with that many partitions does not start, and says why."""
    web = str(free_port())
    code, said = await command(pipeline, "worker", "-l", "info", TOPIC_PARTITIONS=str(count), WEB_PORT=web)
    assert code == os.EX_CONFIG, said
    for each in told:
        assert each in said


async def test_while_devices_publish_nothing_is_lost_doubled_or_overtaken(pipeline: Pipeline) -> None:
    devices = Devices(pipeline, await tenants_of(pipeline, MORE))
    worker = pipeline.worker()
    ingest = pipeline.ingest(pages=True)
    async with publishing(devices):
        await sends_more(devices, 2_000)
        before = list(devices.last)
        await asyncio.to_thread(worker.stop)
        await sends_more(devices, 200)
        await grown(pipeline)
        worker = await asyncio.to_thread(pipeline.worker)
        await sends_more(devices, 2_000)
    await devices.send_again(before)
    await all_landed(pipeline, devices)
    assert worker.status("/health/ready") == 200
    ports = {"WEB_PORT": str(worker.port), "INGEST_WEB_PORT": str(ingest.port)}
    code, told = await command(pipeline, "doctor", **ports)
    assert code == 0, told
    assert f"{MORE} partitions each" in told


CUTS = [(ADD, 1), (SEND, 1), (SEND, 9), (ADD, 2), (SEND, 20), (ADD, 4), (ADD, 6)]
"""Where it is killed, one after the other: at which call of what."""


@pytest.mark.parametrize("cuts", [CUTS[::3], long(CUTS)], ids=["some", "all"])
async def test_killed_anywhere_it_goes_on_and_no_worker_starts_in_between(
    pipeline: Pipeline, cuts: list[tuple[str, int]]
) -> None:
    devices = Devices(pipeline, await tenants_of(pipeline, MORE))
    worker = pipeline.worker()
    pipeline.ingest()
    async with publishing(devices):
        await sends_more(devices, 500)
    await handed_off(pipeline, devices.sent.total())
    await asyncio.to_thread(worker.stop)
    for where, call in cuts:
        assert await cut_off(pipeline, where, call) == -signal.SIGKILL, (where, call)
        assert await stands(pipeline) == {PARTITIONS, MORE}
        if (where, call) in [(ADD, 1), (ADD, 6)]:
            await is_refused(pipeline, PARTITIONS, f"metric-streams partitions {MORE}")
            await is_refused(pipeline, MORE, f"metric-streams partitions {MORE}")
    code, told = await command(pipeline, "partitions", COUNT, "--dry-run")
    assert (code, "cut off before" in told) == (0, True), told
    assert await cut_off(pipeline, ADD, LAST_ADDED) == -signal.SIGKILL
    assert await stands(pipeline) == {MORE}
    code, told = await command(pipeline, "partitions", COUNT)
    assert (code, "nothing to do" in told) == (0, True), told
    await is_refused(pipeline, PARTITIONS, f"Set TOPIC_PARTITIONS={MORE}")
    pipeline.worker(TOPIC_PARTITIONS=COUNT)
    await devices.send_again(list(devices.last))
    await all_landed(pipeline, devices)


async def cut_off(pipeline: Pipeline, where: str, call: int) -> int:
    argv = [sys.executable, "-m", "tests.parts.cut_off", where, str(call), "partitions", COUNT, "--yes"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | pipeline.environment
    done = await asyncio.to_thread(
        subprocess.run, argv, env=environment, cwd=REPOSITORY, capture_output=True, check=False, timeout=60
    )
    return done.returncode


async def test_it_refuses_while_workers_run_or_records_are_left_and_says_what_mends_it(
    pipeline: Pipeline,
) -> None:
    tenant = pipeline.tenants[0]
    worker = pipeline.worker(HANDOFF_MAX_QUEUED_JOBS="1", CHUNK_MAX_MESSAGES="1")
    topic = f"metrics/{tenant}/edge-1/cpu"
    await publish(pipeline, (topic, {"value": 0, "dedupe_id": "fills the queue"}))
    await handed_off(pipeline, 1)
    await publish(pipeline, *[(topic, {"value": n, "dedupe_id": f"d-{n}"}) for n in range(5)])
    code, told = await command(pipeline, "partitions", COUNT, "--yes")
    assert (code, "1 worker is in the group" in told, "stop all workers" in told) == (1, True, True), told
    await is_emitted(pipeline, 6)
    await asyncio.to_thread(worker.stop)
    code, told = await command(pipeline, "partitions", COUNT, "--dry-run")
    assert code == 1, told
    assert f"records of {pipeline.topics}.unique" in told
    assert "metric-streams worker --drain" in told
    assert await stands(pipeline) == {PARTITIONS}
    pipeline.ingest()
    code, told = await command(pipeline, "worker", "--drain", "-l", "info", WEB_PORT=str(free_port()))
    assert code == 0, told
    code, told = await command(pipeline, "partitions", COUNT, "--dry-run")
    assert (code, f"{PARTITIONS} to {MORE} partitions" in told) == (0, True), told
    code, told = await command(pipeline, "partitions", COUNT)
    assert (code, "--yes" in told) == (1, True), told
    code, told = await command(pipeline, "partitions", str(PARTITIONS + 1))
    assert (code, f"Use {MORE}" in told) == (2, True), told
    assert await stands(pipeline) == {PARTITIONS}
    await is_refused(pipeline, MORE, f"metric-streams partitions {MORE}", f"TOPIC_PARTITIONS={PARTITIONS}")


async def is_emitted(pipeline: Pipeline, count: int) -> None:
    async def are() -> bool:
        return (await accepted(pipeline)).total() >= count

    await eventually(are, timeout_s=60)


async def test_what_was_rejected_before_is_put_back_in_its_order_although_its_tenant_has_moved(
    pipeline: Pipeline,
) -> None:
    """A value that was accepted before it is replaced, one that came later is not, on whichever side."""
    worker = pipeline.worker(TENANT_UNKNOWN_S="1")
    pipeline.ingest()
    while partition_of(moves := str(uuid.uuid4()), PARTITIONS) == partition_of(moves, MORE):
        pass
    topic = f"metrics/{moves}/edge-1/cpu"
    # One after the other, so that what comes later begins at a lower offset in the new partition.
    for count, id_ in enumerate(("alone", "later", "after"), start=1):
        await publish(pipeline, (topic, {"value": 1, "dedupe_id": id_}))
        await settled(pipeline, count)
    await add_tenant(pipeline, moves)

    async def later_stands() -> bool:
        await publish(pipeline, (topic, {"value": 2, "dedupe_id": "later"}))
        return bool(await pipeline.rows())

    await eventually(later_stands, timeout_s=30, interval_s=0.5)
    await flowed(pipeline, moves)
    await asyncio.to_thread(worker.stop)
    await grown(pipeline)
    pipeline.worker(TENANT_UNKNOWN_S="1")
    await publish(pipeline, (topic, {"value": 3, "dedupe_id": "after"}))
    await rows_stand(pipeline, 2)
    for _ in range(2):
        await rejected_json(pipeline, "replay", "--all", "--reason", "tenant_unknown", "--yes", "--json")
        await rows_stand(pipeline, 3)
        await flowed(pipeline, moves)
        rows = {row["dedupe_id"]: row["value"] for row in await pipeline.rows()}
        assert rows == {"alone": 1, "later": 2, "after": 3}


@pytest.mark.long
async def test_a_device_whose_tenant_has_moved_is_listed_once(pipeline: Pipeline) -> None:
    tenants = await tenants_of(pipeline, MORE)
    worker = pipeline.worker()
    topics = [f"metrics/{tenant}/edge-{n}/cpu" for n, tenant in enumerate(tenants)]
    await publish(pipeline, *[(topic, {"value": 1}) for topic in topics])
    await handed_off(pipeline, len(topics))
    await asyncio.to_thread(worker.stop)
    await grown(pipeline)
    code, told = await command(pipeline, "devices", "list", "--json")
    assert code == 0, told
    assert sorted(told.count(f'"edge-{n}"') for n in range(len(tenants))) == [1] * len(tenants)
    worker = await asyncio.to_thread(pipeline.worker)
    await publish(pipeline, *[(topic, {"value": 2}) for topic in topics])
    await handed_off(pipeline, 2 * len(topics))
    await asyncio.to_thread(worker.stop)
    code, told = await command(pipeline, "devices", "list", "--json")
    assert sorted(told.count(f'"edge-{n}"') for n in range(len(tenants))) == [1] * len(tenants)
    assert told.count('"messages":2') == len(tenants)


@pytest.mark.parametrize("set_to", [1, long(MORE)])
async def test_how_many_partitions_its_own_settings_tell_makes_no_difference(
    pipeline: Pipeline, set_to: int
) -> None:
    """Such as those to come, where TOPIC_PARTITIONS was set before; every former partition is looked at."""
    tenants = await tenants_of(pipeline, MORE)
    worker = pipeline.worker()
    await publish(pipeline, *[(f"metrics/{tenant}/edge-1/cpu", {"value": 1}) for tenant in tenants])
    await handed_off(pipeline, len(tenants))
    await asyncio.to_thread(worker.stop)
    code, told = await command(pipeline, "partitions", COUNT, "--yes", TOPIC_PARTITIONS=str(set_to))
    assert code == 0, told
    pipeline.environment["TOPIC_PARTITIONS"] = COUNT
    pipeline.worker()
    await publish(pipeline, *[(f"metrics/{tenant}/edge-1/cpu", {"value": 2}) for tenant in tenants])
    await handed_off(pipeline, 2 * len(tenants))


@pytest.mark.parametrize("count", ["0", "many"])
async def test_what_is_no_number_of_partitions_is_a_mistake_of_the_command_line(
    pipeline: Pipeline, count: str
) -> None:
    code, told = await command(pipeline, "partitions", count)
    assert (code, "Traceback" in told) == (2, False)
