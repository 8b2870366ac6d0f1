"""``metric-streams rejected`` on a real pipeline: what was refused is found, put back, and lands once."""

import asyncio
import os
import uuid
from collections import Counter

import pytest

from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.rejections.listing import Selection
from streams.rejections.marks import MarkWriter
from streams.rejections.replay import Replay
from streams.settings import Settings
from streams.wire import unique
from tests.acceptance.conftest import Pipeline
from tests.acceptance.rejections import (
    MANY,
    add_tenant,
    counted,
    flowed,
    mixed,
    publish,
    rejected_json,
    rows_stand,
    run,
    settled,
)
from tests.parts.commands import REPOSITORY, WAYS, call
from tests.parts.eventually import eventually
from tests.parts.topics import read_topic


async def test_what_an_unknown_tenant_sent_lands_once_however_often_it_is_put_back(
    pipeline: Pipeline,
) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    pipeline.ingest()
    tenant = str(uuid.uuid4())
    await publish(pipeline, *mixed(tenant))
    await settled(pipeline, MANY)
    assert await counted(pipeline, "--reason", "tenant_unknown") == MANY
    await add_tenant(pipeline, tenant)
    for round_ in range(2):
        (told,) = await rejected_json(pipeline, "replay", "--reason", "tenant_unknown", "--yes", "--json")
        assert told["replayed"] == (MANY if round_ == 0 else 0)
        rows = await rows_stand(pipeline, MANY)
        await flowed(pipeline)
        assert len(await pipeline.rows()) == MANY
    assert sorted(row["value"] for row in rows) == list(range(MANY))
    assert Counter(row["tenant_id"] for row in rows) == {tenant: MANY}
    assert await counted(pipeline) == 0
    assert await counted(pipeline, "--all") == MANY


@pytest.mark.long
async def test_a_second_replay_without_the_marks_changes_nothing_either(pipeline: Pipeline) -> None:
    """The marks only hide: what keeps rows single is the place that a message keeps."""
    pipeline.worker(TENANT_UNKNOWN_S="1", DEDUPE_ID_WHEN_MISSING="none")
    pipeline.ingest()
    tenant = str(uuid.uuid4())
    await publish(pipeline, *mixed(tenant))
    await settled(pipeline, MANY)
    await add_tenant(pipeline, tenant)
    before = None
    for _ in range(3):
        (told,) = await rejected_json(pipeline, "replay", "--all", "--yes", "--json")
        assert told["replayed"] + told["superseded"] == MANY
        await rows_stand(pipeline, MANY)
        await flowed(pipeline)
        rows = sorted(await pipeline.rows(), key=lambda row: row["value"])
        assert before is None or rows == before
        before = rows
    assert len(rows) == MANY


async def test_a_row_keeps_the_time_of_its_first_arrival(pipeline: Pipeline) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    pipeline.ingest()
    tenant = str(uuid.uuid4())
    await publish(pipeline, (f"metrics/{tenant}/edge-1/cpu", {"value": 1}))
    await settled(pipeline, 1)
    (found,) = await rejected_json(pipeline, "export")
    await add_tenant(pipeline, tenant)
    await rejected_json(pipeline, "replay", found["coordinate"], "--yes", "--json")
    (row,) = await rows_stand(pipeline, 1)
    assert row["timestamp"].strftime("%Y-%m-%dT%H:%M:%S.%fZ") == found["received_at"]


async def test_an_old_value_that_is_put_back_replaces_no_newer_one(pipeline: Pipeline) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    pipeline.ingest()
    tenant = str(uuid.uuid4())
    topic = f"metrics/{tenant}/edge-1/cpu"
    await publish(pipeline, (topic, {"value": 1, "dedupe_id": "d"}), (topic, {"value": 7, "dedupe_id": "e"}))
    await settled(pipeline, 2)
    await add_tenant(pipeline, tenant)

    async def newer_stands() -> bool:
        await publish(pipeline, (topic, {"value": 2, "dedupe_id": "d"}))
        return bool(await pipeline.rows())

    await eventually(newer_stands, timeout_s=30, interval_s=0.5)
    await rejected_json(pipeline, "replay", "--text", '"dedupe_id": "e"', "--yes", "--json")
    await rejected_json(pipeline, "replay", "--yes", "--json")
    await rows_stand(pipeline, 2)
    await flowed(pipeline)
    assert {row["dedupe_id"]: row["value"] for row in await pipeline.rows()} == {"d": 2, "e": 7}


async def test_a_slow_replay_replaces_no_value_that_came_while_it_ran(pipeline: Pipeline) -> None:
    """Longer than the dedupe window, so that refine alone would not know."""
    pipeline.worker(TENANT_UNKNOWN_S="0.5", DEDUPE_WINDOW_S="2")
    pipeline.ingest()
    tenant, count = str(uuid.uuid4()), 16
    topic = f"metrics/{tenant}/edge-1/cpu"
    old, new = (
        [(topic, {"value": value, "dedupe_id": f"slow-{number}"}) for number in range(count)]
        for value in (1, 2)
    )
    await publish(pipeline, *old)
    await settled(pipeline, count)
    await add_tenant(pipeline, tenant)
    replay = asyncio.create_task(
        rejected_json(pipeline, "replay", "--tenant", tenant, "--yes", "--json", "--rate", "2")
    )
    await rows_stand(pipeline, 1)
    await publish(pipeline, *new)
    (told,) = await replay
    assert told["replayed"] + told["superseded"] == count
    assert told["superseded"] > 0
    await rows_stand(pipeline, count)
    await flowed(pipeline)
    assert [row["value"] for row in await pipeline.rows()] == [2] * count


async def test_of_several_values_that_are_put_back_the_last_one_wins_in_whichever_order(
    pipeline: Pipeline,
) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    pipeline.ingest()
    tenant = str(uuid.uuid4())
    topic = f"metrics/{tenant}/edge-1/cpu"
    for value in (1, 2, 3):
        await publish(pipeline, (topic, {"value": value, "dedupe_id": "d"}))
        await settled(pipeline, value)
    await add_tenant(pipeline, tenant)
    for value in (2, 3, 1):
        await rejected_json(pipeline, "replay", "--text", f'"value": {value}', "--yes", "--json")
        await flowed(pipeline)
    (row,) = await rows_stand(pipeline, 1)
    assert row["value"] == 3


async def test_what_is_rejected_again_tells_how_often_and_where_it_came_first(pipeline: Pipeline) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    tenant = str(uuid.uuid4())
    await publish(pipeline, (f"metrics/{tenant}/edge-1/cpu", {"value": 1}))
    await settled(pipeline, 1)
    (first,) = await rejected_json(pipeline, "export")
    for attempts in (2, 3):
        await rejected_json(pipeline, "replay", "--yes", "--json")
        await settled(pipeline, attempts)
        (again,) = await rejected_json(pipeline, "export")
        assert (again["attempts"], again["received_at"]) == (attempts, first["received_at"])
        place = again["first"]
        assert f"{place['partition']}-{place['offset']}-{place['index']}" == first["coordinate"]
    shown = run(pipeline, "show", again["coordinate"]).stdout
    assert "3 times" in shown
    assert first["coordinate"] in shown


async def test_a_replay_that_was_killed_in_the_middle_goes_on_and_doubles_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    pipeline.ingest()
    tenant = str(uuid.uuid4())
    await publish(pipeline, *mixed(tenant))
    await settled(pipeline, MANY)
    await add_tenant(pipeline, tenant)
    process = await asyncio.create_subprocess_exec(
        *WAYS["metric-streams"], "rejected", "replay", "--yes", "--rate", "400", env=_environment(pipeline)
    )

    async def some_landed() -> bool:
        return len(await pipeline.rows()) > 100

    await eventually(some_landed, timeout_s=60)
    process.kill()
    await process.wait()

    # Killed just between Kafka's acknowledgement and the mark, which no clock hits.
    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    settings = Settings.from_mapping(pipeline.environment)
    replay = Replay(settings, Selection(), writer=KafkaChunkWriter(settings), rate=400)
    with monkeypatch.context() as patch:
        patch.setattr(MarkWriter, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            await replay.run()
    left = await counted(pipeline)
    assert 0 < left < MANY
    (told,) = await rejected_json(pipeline, "replay", "--yes", "--json")
    assert told["replayed"] + told["superseded"] == left
    rows = await rows_stand(pipeline, MANY)
    await flowed(pipeline)
    assert sorted(row["value"] for row in await pipeline.rows()) == list(range(MANY))
    assert len(rows) == MANY


async def test_what_is_dismissed_is_hidden_and_never_put_back(pipeline: Pipeline) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    (known, _), unknown = pipeline.tenants, str(uuid.uuid4())
    await publish(
        pipeline,
        (f"metrics/{unknown}/edge-1/cpu", {"value": 1}),
        (f"metrics/{known}/edge-2/cpu", "not JSON"),
        (f"metrics/{known}/edge-3/cpu", '{"value": 1, "note": "' + "x" * 70_000 + '"}'),
    )
    await settled(pipeline, 3)
    assert run(pipeline, "dismiss", "--reason", "payload_not_json", "--yes").returncode == 0
    assert await counted(pipeline) == 2
    (told,) = await rejected_json(pipeline, "replay", "--dry-run", "--json")
    assert (told["messages"], told["cut"], told["replayed"]) == (1, 1, 0)
    assert await counted(pipeline) == 2
    hidden = await rejected_json(pipeline, "list", "--all", "--json", "--agent", "edge-2")
    assert [each["mark"] for each in hidden] == ["dismissed"]


async def test_the_command_finds_shows_and_asks(pipeline: Pipeline) -> None:
    pipeline.worker(TENANT_UNKNOWN_S="1")
    unknown = str(uuid.uuid4())
    agents = [f"edge-{number}" for number in range(5)]
    for agent in agents:
        await publish(pipeline, (f"metrics/{unknown}/{agent}/cpu", {"value": 1}))
    await settled(pipeline, 5)
    listed = run(pipeline)
    assert listed.returncode == 0, listed.stderr
    assert all(agent in listed.stdout for agent in agents)
    assert max(map(len, listed.stdout.splitlines())) <= 80
    one = await rejected_json(pipeline, "export", "--agent", "edge-3")
    shown = run(pipeline, "show", one[0]["coordinate"])
    assert unknown in shown.stdout
    assert "no tenant" in shown.stdout
    assert len(await rejected_json(pipeline, "list", "--limit", "2", "--json")) == 2
    unasked = run(pipeline, "replay")
    assert (unasked.returncode, "--yes" in unasked.stderr) == (1, True)
    assert await counted(pipeline) == 5
    assert await counted(pipeline, "--since", "1h") == 5
    assert await counted(pipeline, "--until", "1h") == 0
    unreadable, not_there = 2, 1
    mistakes = [
        (["--reason", "nonsense"], unreadable),
        (["--since", "yesterday"], unreadable),
        (["show", "nowhere"], unreadable),
        (["show", "0-999-1"], not_there),
    ]
    for wrong, code in mistakes:
        refused = run(pipeline, *wrong)
        assert refused.returncode == code, wrong
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.long
async def test_ingress_still_finds_its_term_and_its_session_behind_a_replay(pipeline: Pipeline) -> None:
    """Its newest records are a replay's by then: they carry on what a new leader looks for."""
    worker = pipeline.worker(TENANT_UNKNOWN_S="1", CHUNK_MAX_MESSAGES="1")
    pipeline.ingest()
    tenant = str(uuid.uuid4())
    topic = f"metrics/{tenant}/edge-1/cpu"
    await publish(pipeline, *[(topic, {"value": number, "dedupe_id": f"d-{number}"}) for number in range(40)])
    await settled(pipeline, 40)
    await add_tenant(pipeline, tenant)
    environment = pipeline.environment | {"CHUNK_MAX_MESSAGES": "1"}
    done = call("metric-streams", "rejected", "replay", "--yes", **environment)
    assert done.returncode == 0, done.stderr
    await rows_stand(pipeline, 40)
    worker.stop()
    pipeline.worker(TENANT_UNKNOWN_S="1")
    await publish(pipeline, (topic, {"value": 99, "dedupe_id": "d-7"}))
    await flowed(pipeline)
    values = {row["dedupe_id"]: row["value"] for row in await pipeline.rows()}
    assert (values["d-7"], len(values)) == (99, 40)
    records = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.raw")
    terms = [dict(record.headers).get("term") for record in sorted(records, key=lambda one: one.timestamp)]
    assert None not in terms
    emitted = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.unique")
    assert sum(len(unique.decode(record.value).readings) for record in emitted) >= 41


def _environment(pipeline: Pipeline) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | pipeline.environment
