"""Writes ingress's chunks to ``metrics.raw``, with a Kafka producer of its own.

Its own, because what is told to the MQTT broker hangs on each single acknowledgement, and because a producer
that has failed must be replaced without a Faust agent in the way. ``streams/ingress/testing.py`` is
the same in memory.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, NodeNotReadyError
from aiokafka.protocol.produce import ProduceRequest

from streams.errors import DeliveryFailed, LeaseLapsed, Outage
from streams.ingress.lease import Lease
from streams.kafka.clients import new_producer
from streams.kafka.internals import gathered_bytes
from streams.kafka.outages import as_outage, not_taken
from streams.kafka.writer_names import new_writer
from streams.settings import Settings
from streams.wire.headers import SEQ, WRITER

log = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes]]
Written = asyncio.Future[None]

# A chunk of a single message may be larger than CHUNK_MAX_BYTES: a topic and a payload of 64 KiB each, of
# which JSON makes up to six times as much.
MAX_REQUEST_BYTES = 4 * 1024 * 1024
# A batch takes several chunks while the one before is under way. Its size before compression stays below
# what a Kafka broker takes by default (message.max.bytes, 1 MiB).
MAX_BATCH_BYTES = 768 * 1024
RECORD_BYTES = 1024
"""What a record has beside its value, at most: headers and frame."""
STOP_TIMEOUT_S = 5.0


class ChunkWriter(Protocol):
    """What ingress asks of Kafka."""

    async def open(self) -> None:
        """Be ready to write: connect, or replace what has failed.

        Raises:
            Outage: Kafka is not reached, or the topic is not as the settings say.
        """
        ...

    async def write(self, partition: int, value: bytes, headers: Headers) -> Written:
        """Queue a record behind all that were queued before it; waits while there is no room.

        One caller at a time. To the headers come `WRITER` and `SEQ`: the records that are taken between two
        failures are numbered for each partition, under a name that is new after each failure.

        Returns:
            A future that is done when Kafka has acknowledged the record, or fails with `DeliveryFailed`.
            After one has failed, no record is taken before `open` is called again.

        Raises:
            DeliveryFailed: the record was not queued.
        """
        ...

    def has_room(self, partition: int, size_bytes: int) -> bool:
        """Tell whether `write` takes a value of that size for a partition without waiting for others."""
        ...

    async def close(self) -> None:
        """Disconnect. What is not sent by then never is; what is not acknowledged fails."""
        ...


class Witness(Protocol):
    """Knows whether others wrote between our records (`streams.ingress.other_writers.OtherWriters`)."""

    def before(self, partition: int, offset: int) -> range | None:
        """Note where our record has landed; return the offsets right before it that others took."""
        ...

    async def examine(self, partition: int, offsets: range) -> None:
        """Return if what stands there leaves ours as good as it was.

        Raises:
            MetricStreamsError: if not, or if Kafka does not say.
        """
        ...


class GatedProducer(AIOKafkaProducer):  # type: ignore[misc] # aiokafka has no types
    """An aiokafka producer that asks, just before it sends records, whether it still may.

    Records wait in its accumulator, for their turn, for a connection or to be tried again, and none of that
    can be taken back. So every request passes here, however long its records have waited. What has gone to
    the socket by then is out of reach: the kernel sends it, whatever becomes of this process.

    Args:
        check: raises `Outage` if nothing may be sent any more.
        options: of `AIOKafkaProducer`.
    """

    def __init__(self, check: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._check = check
        self._refusal: Outage | None = None
        self._send_unasked = self.client.send
        # Its sender calls it there (``producer/sender.py``).
        self.client.send = self._send_if_allowed

    def shut(self, why: Outage) -> None:
        """Send no record any more; those that wait fail when their turn comes."""
        self._refusal = self._refusal or why

    def has_room(self, topic: str, partition: int, size_bytes: int) -> bool:
        """Tell whether a record goes into the batch that is gathered for a partition.

        Else `send` waits until that has left, which it does when the one before was acknowledged.
        """
        gathered = gathered_bytes(self._message_accumulator, topic, partition)
        return gathered is None or gathered + size_bytes + RECORD_BYTES <= MAX_BATCH_BYTES

    async def discard(self) -> None:
        """Stop. If it waits for a Kafka that is away, only its connections are closed."""
        try:
            await asyncio.wait_for(self.stop(), STOP_TIMEOUT_S)
        except (KafkaError, TimeoutError) as error:
            log.info("the Kafka producer of ingress did not stop cleanly: %r", error)
            with suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(self._sender.close(), STOP_TIMEOUT_S)
            await self.client.close()

    async def _send_if_allowed(self, node_id: int, request: Any, **options: Any) -> Any:
        if isinstance(request, ProduceRequest):
            # Connected first: between the question and the sending nothing is waited for.
            if not await self.client.ready(node_id):
                raise NodeNotReadyError(f"node {node_id} is not connected")
            try:
                self._ask()
            except Outage as outage:
                raise KafkaError(str(outage)) from outage  # not one after which aiokafka tries again
        return await self._send_unasked(node_id, request, **options)

    def _ask(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        self._check()


class KafkaChunkWriter:
    """The real one.

    Args:
        settings: name the topic.
        lease: without it nothing is written; None where nobody could take over meanwhile.
        witness: is asked before a record counts as written; None where nobody else writes.
    """

    def __init__(
        self, settings: Settings, lease: Lease | None = None, witness: Witness | None = None
    ) -> None:
        self._settings = settings
        self._lease = lease
        self._witness = witness
        self._examining: dict[int, asyncio.Task[None]] = {}
        """By partition: whether what landed since then counts as written."""
        self._topic = settings.raw_topic
        self._producer: GatedProducer | None = None
        self._failure: DeliveryFailed | None = None
        self._unwritten: set[Written] = set()
        self._name = b""
        self._sequences: Counter[int] = Counter()
        """How many records each partition got under that name."""

    async def open(self) -> None:
        """Be ready to write."""
        if self._producer is not None and self._failure is None:
            return
        await self.close()
        producer: GatedProducer = new_producer(
            self._settings,
            "ingress",
            partial(GatedProducer, self._check_lease),
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )
        try:
            async with AsyncExitStack() as unless_usable:
                unless_usable.push_async_callback(producer.discard)
                await producer.start()
                await self._check_partitions(producer)
                unless_usable.pop_all()
        except KafkaError as error:
            raise await as_outage(self._settings, error) from error
        self._producer, self._failure = producer, None
        # Under a new name the numbers begin anew: how many of the old ones have landed is not known.
        self._name, self._sequences = new_writer().encode(), Counter()

    async def write(self, partition: int, value: bytes, headers: Headers) -> Written:
        """Queue a record."""
        numbered = [*headers, (WRITER, self._name), (SEQ, b"%d" % self._sequences[partition])]
        while True:
            producer = self._usable()
            try:
                sent = await producer.send(self._topic, value, partition=partition, headers=numbered)
            except KafkaTimeoutError:
                # Nothing was queued, so nothing is out of order or doubled by asking again.
                log.warning(
                    "Kafka accepts no chunk for %s[%d]. Trying again; meanwhile messages wait here and with "
                    "the MQTT broker",
                    self._topic,
                    partition,
                )
            except KafkaError as error:
                raise self._failed(error) from error
            else:
                # Only once it is queued: a number without a record would look like a record that was lost.
                self._sequences[partition] += 1
                return self._follow(sent, partition)

    def has_room(self, partition: int, size_bytes: int) -> bool:
        """Tell whether `write` takes a value without waiting; also where it would fail."""
        # True where `write` would fail, so that it is called, and says why.
        return self._producer is None or self._producer.has_room(self._topic, partition, size_bytes)

    async def close(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # First: what waits in the producer must not go out on leaving, behind what a successor writes.
            producer.shut(self._failed("the producer was closed"))
            await producer.discard()
        for examining in self._examining.values():
            examining.cancel()
        self._examining.clear()  # one that had not begun does not do so itself
        for written in list(self._unwritten):
            self._end(written, self._failed("the producer was closed"))

    async def _check_partitions(self, producer: AIOKafkaProducer) -> None:
        found, wanted = len(await producer.partitions_for(self._topic)), self._settings.topic_partitions
        if found != wanted:
            raise Outage(
                "kafka",
                f"{self._topic} has {found} partitions, but TOPIC_PARTITIONS is {wanted}: a tenant's "
                "messages would change their partition. Set TOPIC_PARTITIONS to what the topic has",
            )

    def _check_lease(self) -> None:
        """Return if this worker may still write.

        Raises:
            DeliveryFailed: if it stood still for so long that another may have taken its place.
        """
        if self._lease is None:
            return
        try:
            self._lease.check()
        except LeaseLapsed as lapsed:
            raise self._failed(str(lapsed)) from lapsed

    def _usable(self) -> GatedProducer:
        self._check_lease()
        if self._failure is not None:
            raise self._failure
        if self._producer is None:
            raise DeliveryFailed(self._topic, "the writer is not open")
        return self._producer

    def _follow(self, sent: "asyncio.Future[Any]", partition: int) -> Written:
        """Return a future that speaks of our errors instead of aiokafka's."""
        written: Written = asyncio.get_running_loop().create_future()
        self._unwritten.add(written)
        sent.add_done_callback(partial(self._settle, written, partition))
        return written

    def _settle(self, written: Written, partition: int, sent: "asyncio.Future[Any]") -> None:
        error = None if sent.cancelled() else sent.exception()
        if error is not None or sent.cancelled():
            self._end(written, self._failed(error or "the record was given up"))
        # Where others wrote between our records the answer waits: what we wrote behind theirs may be skipped.
        elif (examining := self._examination(partition, sent.result().offset)) is None:
            self._end(written)
        else:
            examining.add_done_callback(partial(self._examined, written))

    def _end(self, written: Written, failure: DeliveryFailed | None = None) -> None:
        self._unwritten.discard(written)
        # By `close`, which does not wait until the producer has given each record up.
        if written.done():
            return
        if failure is not None:
            written.set_exception(failure)
        else:
            written.set_result(None)

    def _examination(self, partition: int, offset: int) -> "asyncio.Task[None] | None":
        """Return what must end well before a record that has landed counts as written."""
        others = None if self._witness is None else self._witness.before(partition, offset)
        under_way = self._examining.get(partition)
        if others is None:
            return under_way
        task = asyncio.create_task(
            self._examine(partition, others, under_way), name="examine what others wrote"
        )
        self._examining[partition] = task
        return task

    async def _examine(self, partition: int, others: range, before: "asyncio.Task[None] | None") -> None:
        try:
            if before is not None:
                await before
            if self._witness is not None:
                await self._witness.examine(partition, others)
        finally:
            # Another look may have begun behind this one, which now is the one to wait for.
            if self._examining.get(partition) is asyncio.current_task():
                del self._examining[partition]

    def _examined(self, written: Written, examining: "asyncio.Task[None]") -> None:
        error = None if examining.cancelled() else examining.exception()
        failed = error is not None or examining.cancelled()
        self._end(written, self._failed(error or "the writer was closed") if failed else None)

    def _failed(self, why: object) -> DeliveryFailed:
        """Take no more, and send no more: what follows a record that was not taken would be out of order.

        An idempotent producer could not go on anyway: the broker misses the sequence number (aiokafka fails
        each later batch of the partition with OutOfOrderSequenceNumber).
        """
        if self._failure is None:
            self._failure = not_taken(self._topic, why)
        if self._producer is not None:
            self._producer.shut(self._failure)
        return self._failure
