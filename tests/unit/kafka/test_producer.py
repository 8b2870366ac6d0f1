"""The producer that is made anew: once for each broken one, whole or not at all."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, OutOfOrderSequenceNumber

from streams.errors import DeliveryFailed
from streams.kafka import producer as module
from streams.kafka.producer import Producer
from tests.parts.eventually import eventually


class FakeKafkaProducer:
    """Starts when it is told to."""

    def __init__(self, *, fails: Exception | None = None) -> None:
        self.fails = fails
        self.is_broken = False
        self.may_start = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.starts = 0
        self.given_up = False

    async def start(self) -> None:
        self.starts += 1
        await self.may_start.wait()
        if self.fails is not None:
            raise self.fails

    async def give_up(self) -> None:
        self.given_up = True
        await self.may_stop.wait()


class Renewed:
    """Faust's producer without Faust around it, with one aiokafka producer and those that come next."""

    def __init__(self, *following: FakeKafkaProducer) -> None:
        self.first = FakeKafkaProducer()
        self.made = 0
        self.following = list(following)
        self.producer: Any = Producer.__new__(Producer)
        self.producer._renewing = asyncio.Lock()
        self.producer._retiring = set()
        self.producer._producer = self.first
        self.producer._new_producer = self._make

    def _make(self) -> FakeKafkaProducer:
        self.made += 1
        return self.following.pop(0)

    @property
    def current(self) -> FakeKafkaProducer:
        found: FakeKafkaProducer = self.producer._producer
        return found

    def let_go(self) -> None:
        self.first.may_stop.set()


async def test_a_producer_that_is_whole_is_left_alone() -> None:
    renewed = Renewed()
    await renewed.producer.renew_if_broken()
    assert renewed.current is renewed.first


async def test_many_agents_that_meet_one_fatal_error_make_one_new_producer() -> None:
    second = FakeKafkaProducer()
    renewed = Renewed(second)
    renewed.first.is_broken = True
    agents = [asyncio.create_task(renewed.producer.renew_if_broken()) for _ in range(8)]
    await eventually(lambda: second.starts)
    second.may_start.set()
    await asyncio.gather(*agents)
    await renewed.producer.renew_if_broken()
    assert (renewed.made, renewed.current) == (1, second)
    renewed.let_go()


async def test_nobody_sees_a_producer_before_it_has_started() -> None:
    second = FakeKafkaProducer()
    renewed = Renewed(second)
    renewed.first.is_broken = True
    renewing = asyncio.create_task(renewed.producer.renew_if_broken())
    await eventually(lambda: second.starts)
    assert renewed.current is renewed.first
    second.may_start.set()
    await renewing
    assert renewed.current is second
    renewed.let_go()


async def test_nobody_waits_for_the_broken_one_to_stop() -> None:
    second = FakeKafkaProducer()
    second.may_start.set()
    renewed = Renewed(second)
    renewed.first.is_broken = True
    await asyncio.wait_for(renewed.producer.renew_if_broken(), 30)
    await eventually(lambda: renewed.first.given_up)
    assert not renewed.first.may_stop.is_set()
    renewed.let_go()
    await eventually(lambda: not renewed.producer._retiring)


@pytest.mark.parametrize("failure", [KafkaConnectionError("away"), TimeoutError()])
async def test_a_new_one_that_does_not_start_is_an_outage_and_the_next_try_makes_another(
    failure: Exception,
) -> None:
    second, third = FakeKafkaProducer(fails=failure), FakeKafkaProducer()
    for one in (second, third):
        one.may_start.set()
        one.may_stop.set()
    renewed = Renewed(second, third)
    renewed.first.is_broken = True
    with pytest.raises(DeliveryFailed):
        await renewed.producer.renew_if_broken()
    assert second.given_up
    assert renewed.current is renewed.first
    await renewed.producer.renew_if_broken()
    assert renewed.current is third
    renewed.let_go()


async def test_a_new_one_that_never_starts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.01)
    second = FakeKafkaProducer()
    second.may_stop.set()
    renewed = Renewed(second)
    renewed.first.is_broken = True
    with pytest.raises(DeliveryFailed):
        await renewed.producer.renew_if_broken()
    assert second.given_up


async def test_a_worker_that_stops_meanwhile_keeps_no_new_producer() -> None:
    second = FakeKafkaProducer()
    second.may_stop.set()
    renewed = Renewed(second)
    renewed.first.is_broken = True
    renewing = asyncio.create_task(renewed.producer.renew_if_broken())
    await eventually(lambda: second.starts)
    renewed.producer._producer = None
    second.may_start.set()
    await renewing
    assert second.given_up
    assert renewed.producer._producer is None


def test_what_is_fatal_is_not_retriable() -> None:
    assert OutOfOrderSequenceNumber in module.FATAL
    assert not any(error.retriable for error in module.FATAL)
