"""Holds what a connection has received until it is taken, many at a time: no wake-up per message."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from streams.counters import Note, Statistics
from streams.mqtt.transport import Publication

log = logging.getLogger(__name__)

GATHER_S = 0.001
"""How long the first message waits for company before the taker is woken, which costs more than a message."""
LIMIT_PER_RECEIVE_MAXIMUM = 10
LIMIT_BYTES = 8 * 1024 * 1024
"""128 messages of 64 KiB; without it 50,000 of them might wait, 3.3 GB. To have more waiting gains nothing:
what is left to TCP is read in the same order. What the kernel holds may all be read in one turn of the event
loop, which the other tasks wait for: up to 8 ms for this much."""
QOS0_LIMIT_BYTES = 16 * 1024 * 1024
"""Where reading stops at the limit, no read goes so far beyond it. With aiomqtt it goes on for QoS 0."""
TAKE_BYTES, TAKE_MESSAGES = 4 * 1024 * 1024, 2_000
"""At most so much is taken at once, as the event loop's other tasks wait until all is encoded: some 5 ms for
2,000 messages of the usual size, up to 10 for 64 of 64 KiB. With less, large payloads would pile up in the
broker, before those of others, although there is time for them. One read has no more than 256 KB."""
DROP_LOG_EVERY_S = 60.0


class Inbox:
    """The queue between a transport and its `receive`.

    It is full at `limit` waiting messages, or at `limit_bytes` of them: the transport is to stop reading.
    That is for brokers that do not keep to the Receive Maximum, such as Mosquitto 2.0.11, or do not know it
    (MQTT 3.1.1), and for large payloads, of which the Receive Maximum lets through 5,000. What comes at QoS 1
    is taken even so. What comes at QoS 0, which nothing bounds, is dropped, counted and logged where there
    are `limit` messages or `qos0_limit_bytes`.

    Args:
        limit: of messages.
        statistics: counts what is dropped.
        limit_bytes: of their topics and payloads. An empty inbox takes a single message that has more.
        qos0_limit_bytes: of what waits, beyond which QoS 0 is dropped.
        take_bytes: what `take` returns at most, but for a single read that has more.
        take_messages: as many as it returns at most, with the same exception.
        gather_s: how long the first message waits for company.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        limit: int,
        statistics: Statistics,
        *,
        limit_bytes: int = LIMIT_BYTES,
        qos0_limit_bytes: int = QOS0_LIMIT_BYTES,
        take_bytes: int = TAKE_BYTES,
        take_messages: int = TAKE_MESSAGES,
        gather_s: float = GATHER_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._qos0_limit_bytes = qos0_limit_bytes
        self._take_bytes = take_bytes
        self._take_messages = take_messages
        self._gather_s = gather_s
        self._statistics = statistics
        self._monotonic = monotonic
        self._reads: deque[tuple[Sequence[Publication], int]] = deque()
        """What each read has brought, and how many bytes that is: so no message is weighed by itself."""
        self._count = 0
        self.size_bytes = 0
        """Of all that waits."""
        self._waiter: asyncio.Future[None] | None = None
        self._drop_log_due = float("-inf")
        self.taken = 0
        """How many messages were taken so far."""

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be read before something is taken."""
        return self._count >= self._limit or self.size_bytes >= self._limit_bytes

    def put_nowait(self, publication: Publication) -> None:
        """Add a message (the name is `asyncio.Queue`'s, in whose place aiomqtt takes us)."""
        if publication.token is None and self._drops_qos0(1, 1):
            self._drop()
        else:
            self._add((publication,), len(publication.topic) + len(publication.payload))

    def put_all(self, publications: Sequence[Publication], size_bytes: int) -> None:
        """Add what one read has brought, in order.

        Args:
            publications: at least one.
            size_bytes: of them as they came, so that none has to be weighed.
        """
        if self._drops_qos0(len(publications), size_bytes):
            # One by one, so that what comes at QoS 1 is kept and only QoS 0 is dropped.
            for publication in publications:
                self.put_nowait(publication)
        else:
            self._add(publications, size_bytes)

    async def take(self, timeout_s: float | None) -> list[Publication]:
        """Take what waits, up to a bound; wait up to `timeout_s` (None: for ever) if there is nothing."""
        if not self._reads:
            await self._wait(timeout_s)
        taken: list[Publication] = []
        size_bytes = 0
        while self._reads:
            publications, more_bytes = self._reads[0]
            too_many = len(taken) + len(publications) > self._take_messages
            # The first is taken whatever its size: it would wait for ever else.
            if taken and (too_many or size_bytes + more_bytes > self._take_bytes):
                break
            self._reads.popleft()
            taken += publications
            size_bytes += more_bytes
        self._count -= len(taken)
        self.size_bytes -= size_bytes
        self.taken += len(taken)
        return taken

    def wake(self) -> None:
        """Let a waiting `take` return with what there is."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken."""
        return sum(publication.token is None for read, _ in self._reads for publication in read)

    def _drops_qos0(self, more: int, more_bytes: int) -> bool:
        """Tell whether at QoS 0 not all of so many can be taken."""
        return self._count + more > self._limit or self.size_bytes + more_bytes > self._qos0_limit_bytes

    def _add(self, publications: Sequence[Publication], size_bytes: int) -> None:
        # Only for the first: whoever is woken takes all that has come by then.
        if not self._reads:
            self._wake_soon()
        self._reads.append((publications, size_bytes))
        self._count += len(publications)
        self.size_bytes += size_bytes

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
        self._statistics.notes[Note.QOS0_DROPPED] += 1
        now = self._monotonic()
        if now >= self._drop_log_due:
            self._drop_log_due = now + DROP_LOG_EVERY_S
            log.warning(
                "%d messages (%d bytes) wait to be written: dropping what comes at QoS 0 (%d dropped so "
                "far). What comes at QoS 1 is not dropped",
                self._count,
                self.size_bytes,
                self._statistics.notes[Note.QOS0_DROPPED],
            )
