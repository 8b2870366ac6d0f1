"""A Faust producer that Kafka can trust with order: idempotent, and made anew after a fatal error.

Between the agents and their topics. Faust's own (``transport/drivers/aiokafka.py``) is not idempotent, and
keeps a producer that has failed for good.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownProducerId,
)
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver

from streams.kafka.clients import durability
from streams.kafka.outages import not_taken

log = logging.getLogger(__name__)

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
FATAL = (
    OutOfOrderSequenceNumber,
    ProducerFenced,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    UnknownProducerId,
)
"""After these, Kafka takes no record of this producer any more, at least for one partition.

What else is refused for good, such as a record that is too large, is refused from a new producer just the
same. (Kafka then misses the sequence number of the refused record, and says so, with the first of these, when
it would take the next one.)
"""


class WatchedProducer(AIOKafkaProducer):  # type: ignore[misc] # aiokafka has no types
    """An aiokafka producer that knows whether it is broken."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._has_failed = False

    @property
    def is_broken(self) -> bool:
        """Whether it met a fatal error, or its background task is gone (``producer/sender.py``)."""
        sender = self._sender.sender_task
        return self._has_failed or (sender is not None and sender.done())

    async def send(self, *args: Any, **options: Any) -> "asyncio.Future[Any]":
        """Queue a record, and look how it ends."""
        sent: asyncio.Future[Any] = await super().send(*args, **options)
        sent.add_done_callback(self._look)
        return sent

    def _look(self, sent: "asyncio.Future[Any]") -> None:
        if not sent.cancelled() and isinstance(sent.exception(), FATAL):
            self._has_failed = True

    async def give_up(self) -> None:
        """Stop within `STOP_TIMEOUT_S`; what Kafka has not taken by then fails, and nobody waits for it."""
        try:
            await asyncio.wait_for(self.stop(), STOP_TIMEOUT_S)
        except (KafkaError, TimeoutError) as error:
            log.info("the broken producer did not stop cleanly: %r", error)
            self._message_accumulator.fail_all(KafkaError("the producer was given up"))
            with suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(self._sender.close(), STOP_TIMEOUT_S)
            await self.client.close()


class Producer(driver.Producer):
    """Faust's producer with the project's settings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._renewing = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def _producer_type(self) -> type[WatchedProducer]:
        return WatchedProducer

    def _settings_extra(self) -> Mapping[str, Any]:
        return durability(cast("Any", self.app).settings)

    async def renew_if_broken(self) -> None:
        """Replace the aiokafka producer if it is broken; of many that ask, the first one does it.

        Raises:
            DeliveryFailed: if Kafka does not let a new one in; the broken one stays, to be replaced later.
        """
        # Each partition of an agent meets the same failure at the same moment.
        async with self._renewing:
            broken = cast("WatchedProducer | None", self._producer)
            if broken is None or not broken.is_broken:
                return
            fresh = await self._fresh()
            # Faust takes its producer away when the worker stops, which may happen while the new one
            # connects.
            stopped = self._producer is not broken
            if stopped:
                await fresh.give_up()
                return
            self._producer = fresh
            log.warning("replaced the Kafka producer after a fatal error")
            self._retire(broken)

    def _retire(self, broken: WatchedProducer) -> None:
        """Let what others have under way go on: what is fatal for one partition is not for the others."""
        retiring = asyncio.create_task(broken.give_up(), name="retire a broken producer")
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _fresh(self) -> WatchedProducer:
        fresh = cast("WatchedProducer", self._new_producer())
        try:
            async with AsyncExitStack() as unless_started:
                unless_started.push_async_callback(fresh.give_up)
                await asyncio.wait_for(fresh.start(), START_TIMEOUT_S)
                unless_started.pop_all()
        except (KafkaError, TimeoutError) as error:
            raise not_taken("producer", f"cannot be replaced: {error!r}") from error
        return fresh

    async def on_stop(self) -> None:
        """Stop, and wait for what is being retired."""
        await super().on_stop()
        if self._retiring:
            await asyncio.wait(self._retiring)


class Outgoing(NamedTuple):
    """A record to be sent."""

    topic: str
    value: bytes | None
    """None in a changelog: the key is gone."""
    partition: int
    headers: list[tuple[str, bytes]]
    key: bytes | None = None


async def deliver(app: Any, records: Sequence[Outgoing]) -> list[Any]:
    """Send records in order, and wait until Kafka has acknowledged all; return what it says of each.

    Raises:
        DeliveryFailed: if Kafka did not take one; the caller sends all of them again.
    """
    sent: list[asyncio.Future[Any]] = []
    try:
        for record in records:
            sent.append(await send(app, record))  # noqa: PERF401 - of those sent before one fails, too
    except (KafkaError, ProducerSendError) as error:
        await app.producer.renew_if_broken()
        await _settle(sent)
        raise not_taken(records[len(sent)].topic, error) from error
    return await _landed(app.producer, records[0].topic, sent)


async def send(app: Any, record: Outgoing) -> "asyncio.Future[Any]":
    """Queue a record; what this returns must be awaited, or a failure is but a log line.

    Raises:
        KafkaError, ProducerSendError: if it cannot even be queued.
    """
    topic, value, partition, headers, key = record
    queued: asyncio.Future[Any] = await app.producer.send(topic, key, value, partition, None, headers)
    return queued


async def _landed(producer: Producer, topic: str, sent: Sequence["asyncio.Future[Any]"]) -> list[Any]:
    """Wait until Kafka has acknowledged all; return what it says of each.

    Raises:
        DeliveryFailed: if it refused one; by then it has taken or refused each of the others. Were one still
            on its way, it could land behind the same one sent again.
    """
    done, _ = await asyncio.wait(sent, return_when=asyncio.FIRST_EXCEPTION)
    if any(future.exception() for future in done):
        await producer.renew_if_broken()  # first: a broken one may never settle the others
    outcomes = await _settle(sent)
    for outcome in outcomes:
        if isinstance(outcome, KafkaError | ProducerSendError):
            raise not_taken(topic, outcome) from outcome
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes


async def _settle(sent: Sequence["asyncio.Future[Any]"]) -> list[Any]:
    return await asyncio.gather(*sent, return_exceptions=True)
