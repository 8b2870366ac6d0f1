"""The keeper of devices when Kafka takes only some of what it is given: nothing of it is forgotten."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.counters import Statistics
from streams.last_seen import keeper
from streams.models import Message
from streams.settings import Settings
from streams.wire.devices import decode

AT = "2026-11-23T14:00:00.000000Z"
AT_S = 1_795_442_400.0
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
AGENTS = {f"edge-{number}" for number in range(30)}


class FakeProducer:
    """A Kafka that takes what it is given, but for what it is told to refuse."""

    def __init__(self, **_: Any) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.fail_send_at = self.fail_delivery_at = -1
        self._sent = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def send(self, _topic: str, value: bytes, *, key: bytes, partition: int) -> "asyncio.Future[None]":
        assert partition == 0
        number, self._sent = self._sent, self._sent + 1
        if number == self.fail_send_at:
            raise KafkaTimeoutError
        delivered = asyncio.get_running_loop().create_future()
        if self.fail_delivery_at in range(number + 1):
            delivered.set_exception(KafkaError("the leader is gone"))
        else:
            self.kept[key] = value
            delivered.set_result(None)
        return delivered

    def agents(self) -> set[str]:
        return {device.agent_id for value in self.kept.values() for device in decode(value)}


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> FakeProducer:
    async def nothing(*_: object) -> AsyncIterator[bytes]:
        for value in list[bytes]():
            yield value

    made = FakeProducer()
    monkeypatch.setattr(keeper, "new_producer", lambda *_, **__: made)
    monkeypatch.setattr(keeper, "read_buckets", nothing)
    return made


@pytest.fixture
def writer() -> keeper.DeviceKeeper:
    statistics = Statistics()
    statistics.devices.note(
        0, [Message(f"metrics/{TENANT}/{each}/cpu", "{}", None, AT, 1) for each in AGENTS], []
    )
    return keeper.DeviceKeeper(Settings(), statistics, lambda: None, clock=lambda: AT_S)


@pytest.mark.parametrize("at", [0, 1, 5])
@pytest.mark.parametrize("how", ["fail_send_at", "fail_delivery_at"])
async def test_what_kafka_did_not_take_is_written_by_the_next_round(
    writer: keeper.DeviceKeeper, producer: FakeProducer, how: str, at: int
) -> None:
    setattr(producer, how, at)
    with pytest.raises(KafkaError):
        await writer.write()
    setattr(producer, how, -1)
    await writer.write()
    assert producer.agents() == AGENTS


async def test_what_was_on_its_way_when_the_round_was_cut_short_is_written_again(
    writer: keeper.DeviceKeeper, producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_delivered(*_: object, **__: object) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().create_future()

    with monkeypatch.context() as away:
        away.setattr(producer, "send", never_delivered)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.write(), 0.05)
    await writer.write()
    assert producer.agents() == AGENTS


async def test_what_was_taken_is_not_written_again(
    writer: keeper.DeviceKeeper, producer: FakeProducer
) -> None:
    await writer.write()
    producer.kept.clear()
    await writer.write()
    assert producer.kept == {}
