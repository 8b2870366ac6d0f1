"""A Faust producer that Kafka can trust with order: idempotent, and made anew after a fatal error.

Between the agents and their topics. Faust's own (``transport/drivers/aiokafka.py``) is not idempotent, and
keeps a producer that has failed for good.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver

from streams.errors import DeliveryFailed

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 5.0


class Producer(driver.Producer):
    """Faust's producer with the project's settings."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": cast("Any", self.app).settings.producer_idempotence}

    async def renew(self) -> None:
        """Replace the aiokafka producer: one that met a fatal error takes no record any more."""
        broken, self._producer = self._ensure_producer(), self._new_producer()
        log.warning("the Kafka producer is made anew after a fatal error")
        await self._producer.start()
        try:
            await asyncio.wait_for(broken.stop(), STOP_TIMEOUT_S)
        except (KafkaError, TimeoutError) as error:
            log.info("the broken producer did not stop cleanly: %r", error)


async def deliver(
    app: Any, topic: str, value: bytes, *, partition: int, headers: list[tuple[str, bytes]]
) -> None:
    """Send one record and wait until Kafka has acknowledged it.

    Raises:
        DeliveryFailed: if Kafka did not take it; the caller sends it again.
    """
    try:
        # Faust's own send only queues: what it returns must be awaited, or a failure is but a log line.
        sent = await app.producer.send(topic, None, value, partition, None, headers)
        await sent
    except (KafkaError, ProducerSendError) as error:
        await renew_if_broken(app.producer, error)
        raise DeliveryFailed(topic, repr(error)) from error


async def renew_if_broken(producer: Producer, error: BaseException) -> None:
    """Make the producer anew if an error was its last."""
    cause = error.__cause__ if isinstance(error, ProducerSendError) else error
    if not getattr(cause, "retriable", False):
        try:
            await producer.renew()
        except KafkaError as failure:
            raise DeliveryFailed("producer", f"cannot be made anew: {failure!r}") from failure
