"""The client id of our session at the broker: who can guess it, and how it is changed without a loss."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import aiomqtt
import pytest

from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Pipeline
from tests.acceptance.rejections import publish, settled
from tests.conftest import real
from tests.parts.commands import call
from tests.parts.devices import take_session
from tests.parts.eventually import eventually
from tests.parts.process import find_program
from tests.parts.variants import long
from tests.parts.worker import Worker

REPOSITORY = Path(__file__).parents[2]
DEFAULT, NEW = "metric-streams", "metric-streams-nobody-guesses-it"
EXPOSED = "whoever reaches the MQTT broker can wipe what it keeps for us"
PATIENCE_S = 90.0
EVERY_S = 0.02
LEAST = 50


class Device:
    """Publishes one number after the other, and remembers which the broker has acknowledged."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.taken = 0
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._publish(), name="a device")

    async def more(self) -> None:
        """Wait until a number of further messages are acknowledged."""
        until = self.taken + LEAST
        await eventually(lambda: self.taken >= until, PATIENCE_S)

    async def end(self) -> None:
        """Stop publishing."""
        self._over.set()
        await self._task

    async def _publish(self) -> None:
        topic = f"metrics/{self._pipeline.tenants[0]}/edge-1/cpu"
        async with MqttPublisher(Address.parse(self._pipeline.mosquitto.url)) as publisher:
            while not self._over.is_set():
                payload = json.dumps({"value": self.taken, "dedupe_id": str(self.taken)}).encode()
                assert await publisher.publish(topic, payload, 1)
                self.taken += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), EVERY_S)


async def landed(pipeline: Pipeline, count: int) -> None:
    """Wait until the numbers below one are rows, once each."""

    async def all_of_them() -> bool:
        values = [row["value"] for row in await pipeline.query("select value from metrics_raw")]
        return sorted(map(float, values))[:count] == list(range(count))

    await eventually(all_of_them, PATIENCE_S, interval_s=0.3)


def guide(pipeline: Pipeline) -> list[str]:
    """Return the two commands of docs/connections.md, for this broker."""
    program = real(lambda: find_program("mosquitto_sub", package="mosquitto-clients"))
    text = (REPOSITORY / "docs" / "connections.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("mosquitto_sub ")]
    host, port = pipeline.mosquitto.host, pipeline.mosquitto.port
    made = [line.replace("mosquitto_sub", f"{program} -h {host} -p {port}", 1) for line in lines]
    assert len(made) == 2
    return [line.replace("NEW", NEW).replace("OLD", DEFAULT) for line in made]


async def as_an_operator_does(line: str) -> None:
    """Run a line of the guide."""
    process = await asyncio.create_subprocess_shell(line)
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_the_id_is_changed_as_the_guide_says_and_nothing_is_lost_or_doubled(pipeline: Pipeline) -> None:
    """Devices go on publishing all the while."""
    make_new, discard_old = guide(pipeline)
    pipeline.ingest()
    worker = pipeline.worker()
    device = Device(pipeline)
    try:
        await device.more()
        await as_an_operator_does(make_new)
        await device.more()
        await landed(pipeline, device.taken)  # what came before the new session was made, among others
        await asyncio.to_thread(worker.stop)
        await device.more()
        renamed = await asyncio.to_thread(pipeline.worker, MQTT_CLIENT_ID=NEW)
        await as_an_operator_does(discard_old)
        await device.more()
    finally:
        await device.end()
    await landed(pipeline, device.taken)
    assert len(await pipeline.rows()) == device.taken
    assert renamed.status("/health/ready") == 200
    assert "has no session for MQTT_CLIENT_ID" not in renamed.log_text()
    # It would collect for ever, and fill the broker's memory.
    assert not await take_session(pipeline.mosquitto, DEFAULT)


@pytest.mark.long
async def test_an_id_that_is_changed_without_the_guide_is_told_and_its_session_can_be_taken_up_again(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest()
    worker = pipeline.worker()
    device = Device(pipeline)
    try:
        await device.more()
        await landed(pipeline, LEAST)
        await asyncio.to_thread(worker.stop)
        await device.more()  # the broker keeps these for the old id alone
    finally:
        await device.end()
    renamed = pipeline.worker(MQTT_CLIENT_ID=NEW)
    assert f"set MQTT_CLIENT_ID={DEFAULT} again" in renamed.log_text()
    renamed.stop()
    pipeline.worker()
    await landed(pipeline, device.taken)


async def test_the_default_id_is_told_of_where_the_broker_asks_for_no_login(pipeline: Pipeline) -> None:
    worker = pipeline.worker()
    assert worker.log_text().count(EXPOSED) == 1
    told = call("metric-streams", "doctor", "--before-start", **pipeline.environment)
    assert "it asks for no login, and MQTT_CLIENT_ID=metric-streams is the default" in told.stdout
    worker.stop()
    chosen = pipeline.environment | {"MQTT_CLIENT_ID": NEW}
    assert EXPOSED not in pipeline.worker(MQTT_CLIENT_ID=NEW).log_text()
    told = call("metric-streams", "doctor", "--before-start", **chosen)
    assert "it asks for no login" not in told.stdout


@pytest.mark.parametrize(("client_id", "left"), [long(DEFAULT, 1), (NEW, 3)])
async def test_what_is_told_is_true_who_knows_the_id_wipes_the_session(
    pipeline: Pipeline, client_id: str, left: int
) -> None:
    """And nobody does who cannot guess it."""
    chosen = pipeline.environment | {"MQTT_CLIENT_ID": client_id}
    message = (f"metrics/{pipeline.tenants[0]}/edge-1/cpu", "no metric")
    worker = pipeline.worker(MQTT_CLIENT_ID=client_id)
    await publish(pipeline, message)
    await settled(pipeline, 1)
    worker.stop()
    await publish(pipeline, message, message)
    address = Address.parse(pipeline.mosquitto.url)
    async with aiomqtt.Client(address.host, address.port, identifier=DEFAULT, clean_session=True):
        pass
    worker = pipeline.own(lambda: Worker(chosen, wait="/health/live"))
    await settled(pipeline, left)
    await eventually(lambda: "ingress is connected" in worker.log_text(), PATIENCE_S)
    assert ("the MQTT broker has lost our session" in worker.log_text()) is (client_id == DEFAULT)
