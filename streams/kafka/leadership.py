"""Which worker carries MQTT: the one that holds partition 0 of metrics.raw.

The group's own assignment elects the leader, so a worker that is gone leads no more once its partitions are
another's; what a zombie may still do in between, the MQTT broker ends, since both use one client id.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.errors import Outage
from streams.kafka.internals import consumer_of, coordinator_of, heartbeat, must_rejoin, thread_of

log = logging.getLogger(__name__)


CONFIRM_LIMIT_S = 5.0
"""Below the session timeout, so that an answer is about now."""


class Leadership:
    """Tells when this worker begins and ceases to lead."""

    def __init__(self, app: Any, topic: str) -> None:
        self._seat = TP(topic, 0)
        self._app = app
        self._leads = False
        self._term = 0
        self._changed = asyncio.Event()
        app.on_rebalance_complete.connect(self._on_assigned)

    @property
    def leads(self) -> bool:
        """Whether this worker leads now."""
        return self._leads

    async def changes(self) -> AsyncIterator[bool]:
        """Yield whether this worker leads, at each new term or end of one."""
        term = self._term
        while True:
            await self._changed.wait()
            self._changed.clear()
            # Several changes between two looks are as good as the last one.
            if term != self._term:
                term = self._term
                yield self._leads

    async def confirm(self) -> tuple[int, str]:
        """Ask Kafka whether this worker leads now; return the group's generation and our name in it.

        A worker that was frozen still believes in its old assignment when it goes on.

        Raises:
            Outage: if it does not lead, or Kafka does not say.
        """
        thread = thread_of(self._app.consumer)
        try:
            # In the thread that owns the consumer: its coordinator lives on that loop.
            elected: tuple[int, str] | None = await thread.call_thread(self._ask, thread)
        except (KafkaError, TimeoutError) as error:
            raise Outage("kafka", f"the group does not say whether this worker leads: {error!r}") from error
        if elected is None:
            raise Outage("mqtt", "this worker does not lead now, or the group is about to change")
        return elected

    async def _ask(self, thread: Any) -> tuple[int, str] | None:
        """Send the heartbeat that aiokafka sends all the time, and see what Kafka says to it."""
        consumer = consumer_of(thread)
        coordinator = coordinator_of(consumer)
        # Noted before asking and compared after: the group may be balanced anew while the heartbeat is on its
        # way.
        elected = coordinator.generation, coordinator.member_id
        stands = await asyncio.wait_for(heartbeat(coordinator), CONFIRM_LIMIT_S)
        joining = must_rejoin(coordinator)
        # Between joining and being told the new assignment, the generation is new and the assignment old.
        told = self._app.consumer_generation_id
        current = elected == (coordinator.generation, coordinator.member_id) and told == elected[0]
        seated = TopicPartition(*self._seat) in consumer.assignment()
        return elected if stands and current and seated and not joining else None

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        # A rebalance revokes everything and mostly gives it back, so the session stays until another worker
        # has the seat. Should this worker be cut off meanwhile, the new leader's session ends this one.
        self._settle(leads=self._seat in self._app.consumer.assignment())

    def _settle(self, *, leads: bool) -> None:
        if leads != self._leads:
            log.info("this worker %s MQTT", "now carries" if leads else "no longer carries")
        self._leads = leads
        self._term += 1
        self._changed.set()
