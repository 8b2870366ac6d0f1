"""Ends a worker that carries no MQTT once all that Kafka holds is handed off.

Between the consumer's cursors and the end of the process. Before partitions are added, nothing may be left
(`streams.growth`).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from streams.background import Background
from streams.errors import Outage
from streams.kafka.broker_monitor import EndsReader

log = logging.getLogger(__name__)

EVERY_S = 1.0
DRAINED = "%s: all of it is handled, and this worker ends"
SHARED_AFTER = 30
SHARED = "others hold %d partitions: stop them, or this worker never knows that nothing is left"


class Drain:
    """Looks every second whether anything is left.

    Args:
        app: has the consumer.
        ends: tells where the logs end.
        topics: in the order in which records flow: what is made of one is in the next.
        partitions: how many each of them has.
        end: ends the worker.
    """

    def __init__(
        self, app: Any, ends: EndsReader, topics: Sequence[str], partitions: int, end: Callable[[], None]
    ) -> None:
        self._app = app
        self._ends = ends
        self._topics = topics
        self._partitions = partitions
        self._end = end
        self._looking = Background(
            "the drain",
            self._look,
            EVERY_S,
            app.statistics,
            meaning="Until it is mended, this worker may not end by itself once nothing is left",
            first_at_once=False,
        )
        self._is_over = False
        self._looks = 0

    async def start(self) -> None:
        """Begin to look."""
        self._looking.begin()

    async def stop(self) -> None:
        """Cease to look."""
        await self._looking.end()
        await self._ends.close()

    async def _look(self) -> None:
        if self._is_over:
            return
        self._tell_of_others()
        try:
            self._is_over = await self.is_drained()
        except (Outage, KafkaError, OSError, TimeoutError) as error:
            # Whoever works on the records meets it as well, and says so.
            log.debug("it cannot be told what is left: %r", error)
        if self._is_over:
            log.info(DRAINED, " and ".join(self._topics))
            self._end()

    def _tell_of_others(self) -> None:
        """Say now and then that other workers have partitions, if they do."""
        self._looks += 1
        cursors = self._app.deliverer().cursors if self._app.has_consumer else {}
        missing = len(self._topics) * self._partitions - len(cursors)
        if cursors and missing and self._looks % SHARED_AFTER == 0:
            log.warning(SHARED, missing)

    async def is_drained(self) -> bool:
        """Tell whether this worker holds every partition, and has handled and committed all of it.

        Raises:
            Outage: if Kafka does not answer.
            KafkaError: likewise.
        """
        if not self._app.has_consumer:
            return False
        for topic in self._topics:  # what is left of the second is told only once nothing is of the first
            tps = [TP(topic, number) for number in range(self._partitions)]
            ends = await self._ends.read(tps)
            if not all(self._is_done(tp, ends[tp]) for tp in tps):
                return False
        return True

    def _is_done(self, tp: TP, end: int) -> bool:
        consumer = self._app.deliverer()
        cursor = consumer.cursors.get(tp)
        done = None if cursor is None else cursor.committable
        # Committed too: who adds partitions looks at what the group has committed, when no worker runs any
        # more.
        return done is not None and done >= end and consumer.committed.get(tp, 0) >= done
