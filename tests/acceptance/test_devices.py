"""``metric-streams devices`` beside a real worker: who sends, who fell silent, through a restart."""

import asyncio
import json
from typing import Any

import pytest

from streams.counters import Statistics
from streams.last_seen import keeper
from streams.last_seen.reading import DeviceFilter, read_devices
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.settings import Settings
from streams.wire.devices import DeviceSeen
from tests.acceptance.conftest import Pipeline
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.unit.last_seen.test_table import AT, AT_S, message

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def publish(pipeline: Pipeline, *topics: str) -> None:
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        assert all(await asyncio.gather(*[publisher.publish(topic, b'{"value": 1}', 1) for topic in topics]))


def listed(pipeline: Pipeline, *arguments: str) -> dict[str, dict[str, Any]]:
    done = call("metric-streams", "devices", "list", "--json", *arguments, **pipeline.environment)
    assert done.returncode == 0, done.stderr
    return {each["agent_id"]: each for each in map(json.loads, done.stdout.splitlines())}


async def counted(pipeline: Pipeline, agent: str, messages: int) -> dict[str, Any]:
    async def counts() -> dict[str, Any] | None:
        found = (await asyncio.to_thread(listed, pipeline)).get(agent)
        return found if found is not None and found["messages"] >= messages else None

    found = await eventually(counts, timeout_s=60, interval_s=0.5)
    assert found is not None
    return found


async def test_devices_are_listed_with_their_counts_also_after_a_restart(pipeline: Pipeline) -> None:
    worker = pipeline.worker()
    (tenant, _) = pipeline.tenants
    await publish(pipeline, *[f"metrics/{tenant}/edge-1/cpu"] * 3, f"metrics/{UNKNOWN}/edge-2/cpu")
    first = await counted(pipeline, "edge-1", 3)
    assert (first["tenant_id"], first["rejected"]) == (tenant, 0)
    assert first["silent_s"] < 120
    assert (await counted(pipeline, "edge-2", 1))["rejected"] == 1
    worker.stop()
    pipeline.worker()
    await publish(pipeline, f"metrics/{tenant}/edge-1/cpu")
    assert (await counted(pipeline, "edge-1", 4))["messages"] == 4
    assert listed(pipeline, "--agent", "edge-2").keys() == {"edge-2"}
    assert listed(pipeline, "--silent-for", "1h") == {}
    assert set(listed(pipeline, "--heard-within", "1h", "--tenant", tenant)) == {"edge-1"}
    table = call("metric-streams", "devices", **pipeline.environment).stdout
    assert "edge-1" in table
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.long
async def test_a_hundred_thousand_devices_are_written_and_read_in_bounded_pieces(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("metric-streams", "setup", **pipeline.environment).returncode == 0
    settings = Settings.from_mapping(pipeline.environment)
    statistics = Statistics()
    for number in range(100_000):
        statistics.devices.note(number % 4, [message(f"edge-{number}", AT, f"tenant-{number % 10_000}")], [])
    monkeypatch.setattr(keeper, "MOST_BYTES", 4 * 1024 * 1024)
    writer = keeper.DeviceKeeper(settings, statistics, lambda: None, clock=lambda: AT_S)
    for _ in range(4):
        await writer.write()
    await writer.stop()
    found: list[DeviceSeen] = [each async for each in read_devices(settings, DeviceFilter())]
    assert len({each.name for each in found}) == 100_000
    done = call("metric-streams", "devices", "list", "--agent", "edge-4711", "--json", **pipeline.environment)
    assert json.loads(done.stdout)["messages"] == 1
