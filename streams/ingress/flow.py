"""Carries what one MQTT connection receives into ``metrics.raw``, and acknowledges what is durable there.

Between a `Connection` and a `ChunkWriter`; ``agents/ingress.py`` makes one for each connection.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, NoReturn

from streams.counters import Count, Note, Statistics
from streams.errors import MetricStreamsError
from streams.ingress.chunk_writer import ChunkWriter, Headers, Written
from streams.ingress.chunking import Chunk, Chunker, Linger
from streams.ingress.cpu_load import CpuLoad
from streams.ingress.pubacks import InOrderAcks, Ticket
from streams.ingress.quota import Meter, QuotaVerdict
from streams.ingress.write_queue import UnderWay, WriteQueue
from streams.mqtt.transport import Connection, Publication, Token
from streams.settings import Settings
from streams.timings import INGRESS
from streams.wire.headers import OVER_QUOTA, headers, written_over_quota
from streams.wire.raw import encode_message

NS_PER_S, NS_PER_US = 1_000_000_000, 1_000


class Flow:
    """The flow of one connection: receive, chunk, write, acknowledge.

    Args:
        settings: how chunks are made.
        statistics: counts messages.
        connection: delivers them.
        writer: takes chunks.
        more_headers: what every chunk carries beside its own.
        meter: tells which messages are beyond their tenant's quota; None where there is none.
        monotonic: a clock in seconds.
        cpu: the seconds of CPU that the process has used.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        statistics: Statistics,
        connection: Connection,
        writer: ChunkWriter,
        *,
        more_headers: Headers = (),
        meter: Meter | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._statistics = statistics
        self._connection = connection
        self._writer = writer
        self._more_headers = more_headers
        self._meter = meter
        self._monotonic = monotonic
        self._cpu = cpu
        self._clock = clock
        self._arrived_ns = 0
        """When the messages came that are being taken."""
        self._load = CpuLoad(monotonic(), cpu())
        self._acks: InOrderAcks[Token] = InOrderAcks()
        self._chunker: Chunker[Ticket] = Chunker(
            partitions=settings.topic_partitions,
            max_messages=settings.chunk_max_messages,
            max_bytes=settings.chunk_max_bytes,
            # The broker sends no more than Receive Maximum ahead: gather one half while the other is written.
            max_waiting=settings.mqtt_receive_maximum // 2,
            linger=Linger(settings.chunk_linger_ms / 1_000, settings.chunk_linger_max_ms / 1_000),
            new_ticket=self._begin,
        )
        self._queue = WriteQueue(writer.has_room)
        self._in_flight: set[Written] = set()

    @property
    def in_flight(self) -> int:
        """How many messages the broker waits for us to acknowledge, of those that were taken."""
        return len(self._acks)

    async def run(self) -> NoReturn:
        """Carry until the connection is over.

        Raises:
            MetricStreamsError: what ended it: `ConnectionLost`, `SessionTakenOver` or `DeliveryFailed`.
        """
        pump = asyncio.create_task(self._pump(), name="ingress pump")
        try:
            ends: set[asyncio.Future[Any]] = {pump, self._connection.closed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pump.cancel()
            # Waited for, so that it does not go on writing beside `finish`.
            (outcome,) = await asyncio.gather(pump, return_exceptions=True)
        # Before the end of the connection: a failed write drops that, so it is the reason of both.
        if isinstance(outcome, Exception):
            raise outcome
        raise self._connection.closed.result()

    async def finish(self) -> None:
        """Write what has been received so far and acknowledge it; to be called when `run` has been cancelled.

        Raises:
            DeliveryFailed: Kafka did not take it.
        """
        self._queue.add(self._chunker.rest())
        await self._write()
        while self._queue:
            await self._wait_for_one()
            await self._write()
        await self.settle()

    async def settle(self) -> None:
        """Wait until Kafka has taken or refused all that was written."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def abandon(self) -> None:
        """Give up what was not written: at QoS 1 the broker sends it again, at QoS 0 it is gone."""
        chunks = [*self._queue.clear(), *self._chunker.rest()]
        gone = sum(chunk.qos0 for chunk in chunks) + self._connection.waiting_qos0()
        if gone:
            self._statistics.notes[Note.QOS0_DROPPED] += gone

    async def _pump(self) -> NoReturn:
        while True:
            publications = await self._connection.receive(self._until_due_s())
            self._take(publications)
            now = self._monotonic()
            due = self._chunker.due(now, self._queue.messages_under_way, self._load.share)
            if due:
                self._queue.add(due)
                self._load.note(now, self._cpu())
            await self._write()
            while self._queue.is_full:
                # Nothing is received meanwhile: what comes waits with the broker, which has room for it.
                await self._wait_for_one()
                await self._write()
            if self._connection.has_more():
                await asyncio.sleep(0)  # others have a turn

    def _until_due_s(self) -> float | None:
        due_at = self._chunker.next_due()
        return None if due_at is None else max(0.0, due_at - self._monotonic())

    def _take(self, publications: list[Publication]) -> None:
        self._statistics.messages[Count.RECEIVED] += len(publications)
        add, received, meter = self._chunker.add, self._acks.received, self._meter
        now = self._monotonic() if meter is not None else 0.0
        arrived_ns, received_at, skipped = -1, "", 0
        for publication in publications:
            token = publication.token
            if publication.retained:
                skipped += 1
            else:
                # What one read has brought has arrived at one time, which takes 0.5 µs to write.
                if publication.arrived_ns != arrived_ns:
                    arrived_ns = self._arrived_ns = publication.arrived_ns
                    received_at = rfc3339(arrived_ns)
                topic = publication.topic
                encoded = encode_message(topic, publication.payload, received_at, publication.qos)
                if meter is None:
                    chunk = add(topic, encoded)
                else:
                    chunk = add(topic, encoded, over_quota=self._is_over(meter, publication, now))
                if token is None:
                    chunk.qos0 += 1
            if token is not None:
                # Also of a retained one: it has its place in the order of the acknowledgements.
                received(token)
        if arrived_ns >= 0:
            self._statistics.timings.received_at = arrived_ns / NS_PER_S
        if skipped:
            self._skip_retained(skipped)

    def _is_over(self, meter: Meter, publication: Publication, now: float) -> bool:
        topic = publication.topic
        if publication.redelivered:
            # Weighed anew it could be refused, although the first copy is in the log already, as accepted.
            meter.let_pass(topic, now)
            return False
        verdict = meter.weigh(topic, len(publication.payload), now)
        if verdict is QuotaVerdict.GONE_OVER:
            # So that what went on and what is refused are in different chunks (`Chunker.end`).
            self._chunker.end(topic)
        return verdict is not QuotaVerdict.WITHIN

    def _begin(self) -> Ticket:
        ticket = self._acks.begin()
        ticket.arrived_ns = self._arrived_ns
        return ticket

    def _skip_retained(self, count: int) -> None:
        """Pass over what the broker sends only because we subscribed: it was carried when it was new."""
        self._statistics.notes[Note.RETAINED_SKIPPED] += count
        # No chunk will become durable for them, and without a PUBACK the broker would send no more.
        self._acknowledge(self._acks.free())

    async def _write(self) -> None:
        """Write what waits, but for what would wait for room at Kafka; `_on_written` then goes on."""
        while (chunk := self._queue.next()) is not None:
            # It leaves the queue only when it is written: this may be cancelled, and `finish` then goes on.
            described = [*headers(len(chunk.messages), **_own(chunk)), *self._more_headers]
            written = await self._writer.write(chunk.partition, chunk.value(), described)
            self._in_flight.add(written)
            written.add_done_callback(partial(self._on_written, self._queue.left(chunk)))

    async def _wait_for_one(self) -> None:
        await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)

    def _on_written(self, chunk: UnderWay, written: Written) -> None:
        self._in_flight.discard(written)
        if self._queue.settled(chunk):
            # The pump may be waiting for messages, with chunks in the queue that had no room until now.
            self._connection.wake()
        failure = written.exception()
        if failure is None:
            self._statistics.messages[Count.WRITTEN] += chunk.messages
            arrived_s = chunk.ticket.arrived_ns / NS_PER_S
            self._statistics.timings.passed(INGRESS, chunk.messages, arrived_s, self._clock())
            self._durable(chunk.ticket)
        elif isinstance(failure, MetricStreamsError):
            # Acknowledging anything behind the gap would lose it, so the broker is to send it all again.
            self._connection.drop(failure)
        else:
            raise failure

    def _durable(self, ticket: Ticket) -> None:
        self._acknowledge(self._acks.durable(ticket))

    def _acknowledge(self, tokens: list[Token]) -> None:
        # Packet ids begin anew with each connection: on another one they would acknowledge other messages.
        if tokens and not self._connection.closed.done():
            self._connection.acknowledge(tokens)
            self._statistics.messages[Count.ACKNOWLEDGED] += len(tokens)
            self._statistics.timings.acknowledged_at = self._clock()


def _own(chunk: Chunk[Ticket]) -> dict[str, str]:
    """Return the headers that not every chunk has."""
    return {OVER_QUOTA: written_over_quota(chunk.over_quota)} if chunk.over_quota else {}


def rfc3339(unix_ns: int) -> str:
    """Return a Unix time in nanoseconds as ``2026-11-23T14:00:00.123456Z``."""
    seconds, rest_ns = divmod(unix_ns, NS_PER_S)
    return f"{_to_the_second(seconds)}.{rest_ns // NS_PER_US:06d}Z"


@lru_cache(maxsize=4)  # a second holds many messages
def _to_the_second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
