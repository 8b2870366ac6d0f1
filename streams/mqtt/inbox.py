"""Holds what a connection has received until it is taken, many at a time: no wake-up per message."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from streams.mqtt.transport import Publication
from streams.statistics import Statistics

log = logging.getLogger(__name__)

GATHER_S = 0.001
"""How long the first message waits for company before the taker is woken, which costs more than a message."""
LIMIT_PER_RECEIVE_MAXIMUM = 10
DROP_LOG_EVERY_S = 60.0


class Inbox:
    """The queue between a transport and its `receive`.

    It is full at `limit` waiting messages. Then QoS 0, which nothing bounds, is dropped, counted and logged.
    QoS 1 is taken even so: the transport is to stop reading. That is for brokers that do not keep to the
    Receive Maximum, such as Mosquitto 2.0.11, or do not know it (MQTT 3.1.1).
    """

    def __init__(
        self,
        limit: int,
        statistics: Statistics,
        *,
        gather_s: float = GATHER_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._gather_s = gather_s
        self._statistics = statistics
        self._monotonic = monotonic
        self._waiting: list[Publication] = []
        self._waiter: asyncio.Future[None] | None = None
        self._drop_log_due = float("-inf")
        self.taken = 0
        """How many messages were taken so far."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be read before something is taken."""
        return len(self._waiting) >= self._limit

    def put_nowait(self, publication: Publication) -> None:
        """Add a message (the name is `asyncio.Queue`'s, in whose place aiomqtt takes us)."""
        if publication.token is None and self.is_full:
            self._drop()
            return
        if not self._waiting:
            self._wake_soon()
        self._waiting.append(publication)

    def put_all(self, publications: Sequence[Publication]) -> None:
        """Add what one read has brought, in order."""
        if len(self._waiting) + len(publications) > self._limit:
            for publication in publications:
                self.put_nowait(publication)
            return
        if not self._waiting:
            self._wake_soon()
        self._waiting += publications

    async def take(self, timeout_s: float | None) -> list[Publication]:
        """Take everything; wait up to `timeout_s` (None: for ever) if there is nothing."""
        if not self._waiting:
            await self._wait(timeout_s)
        taken, self._waiting = self._waiting, []
        self.taken += len(taken)
        return taken

    def wake(self) -> None:
        """Let a waiting `take` return with what there is."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken."""
        return sum(publication.token is None for publication in self._waiting)

    def _wake_soon(self) -> None:
        if self._waiter is not None:
            asyncio.get_running_loop().call_later(self._gather_s, self.wake)

    async def _wait(self, timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        alarm = None if timeout_s is None else loop.call_later(timeout_s, self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if alarm is not None:
                alarm.cancel()

    def _drop(self) -> None:
        self._statistics.notes["qos0_dropped"] += 1
        now = self._monotonic()
        if now >= self._drop_log_due:
            self._drop_log_due = now + DROP_LOG_EVERY_S
            log.warning(
                "%d messages wait to be written: dropping what comes at QoS 0 (%d dropped so far). What "
                "comes at QoS 1 is not dropped",
                len(self._waiting),
                self._statistics.notes["qos0_dropped"],
            )
