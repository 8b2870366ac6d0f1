"""Which rejected messages are out of date: a later value of their dedupe id has been accepted since.

refine remembers the ids of its dedupe window, and lets no replay replace a later value. What is older than
that, metrics.unique still tells. A replay may take longer than the window, so it looks again as it goes on.
"""

from collections.abc import AsyncIterator, Iterator

from xxhash import xxh3_64_intdigest

from streams.browse.messages import TopicKind, TopicRecord
from streams.browse.reader import Range, opened
from streams.errors import MalformedRecord
from streams.growth.heirs import former_partitions
from streams.models import Message, Payload
from streams.progress import OnProgress, quiet
from streams.rejections.listing import Rejected
from streams.rejections.marks import SLACK_MS
from streams.rules.names import read_dedupe_id
from streams.rules.payload import read_payload
from streams.rules.topic import Series, read_topic
from streams.settings import Settings
from streams.wire import unique
from streams.wire.headers import read_epoch, read_firsts

LAST_INDEX = 2**31

Order = tuple[int, int, int]


class Superseded:
    """The ids of rejected messages, and what was accepted under them last.

    It takes some 200 bytes for each message with a dedupe id of its device; what has none has no later value.

    Args:
        partitions: how many the topics have.
    """

    def __init__(self, partitions: int) -> None:
        self._count = partitions
        self._accepted: dict[int, Order | None] = {}
        self._partitions: set[int] = set()
        self._since_ms: int | None = None
        self._read_to: dict[int, int] = {}

    def watch(self, rejected: Rejected) -> None:
        """Look for later values of a message's id."""
        if (id_ := device_id(rejected)) is None:
            return
        self._accepted[id_] = None
        record = rejected.message.record
        # Since then its tenant may have moved.
        stood_in = rejected.first.partition
        self._partitions |= former_partitions(rejected.body.topic, stood_in, self._count)
        earliest = record.written_ms if self._since_ms is None else self._since_ms
        self._since_ms = min(earliest, record.written_ms)

    def holds(self, rejected: Rejected) -> bool:
        """Tell whether a later value of the message's id, or this very message, has been accepted."""
        id_ = device_id(rejected)
        accepted = None if id_ is None else self._accepted.get(id_)
        return accepted is not None and accepted >= rejected.first.order

    async def look(self, settings: Settings, *, on_progress: OnProgress = quiet) -> None:
        """Read what was accepted since the earliest of the messages was rejected, or since the last look.

        Raises:
            Outage: Kafka does not answer.
        """
        if self._since_ms is None:
            return
        since_ms = max(0, self._since_ms - SLACK_MS)
        span = Range(since_ms=since_ms, only=self._partitions, starts=self._read_to)
        async with opened(settings, [TopicKind.UNIQUE], span) as topics:
            records: AsyncIterator[TopicRecord] = topics.scan()
            async for record in records:
                for id_, order in accepted_of(record):
                    if id_ in self._accepted:
                        known = self._accepted[id_]
                        self._accepted[id_] = order if known is None else max(known, order)
                on_progress(topics.read, topics.total)
            # Of a log that was made anew meanwhile, the next look reads what comes behind this one's end.
            self._read_to = {tp.partition: held.end for tp, held in topics.ranges.items()}


def device_id(rejected: Rejected) -> int | None:
    """Return 64 bits that stand for the row that the device named; None where it named none."""
    body = rejected.body
    message = Message(body.topic, body.payload, body.payload_base64, size_bytes=body.size_bytes)
    series, payload = read_topic(body.topic), read_payload(message)
    if not isinstance(series, Series) or not isinstance(payload, Payload):
        return None
    dedupe_id = read_dedupe_id(payload.dedupe_id)
    return _row(series.tenant_id, dedupe_id) if isinstance(dedupe_id, str) else None


def accepted_of(record: TopicRecord) -> Iterator[tuple[int, Order]]:
    """Yield the rows that devices named in a record of metrics.unique, each with its message's order."""
    try:
        chunk, epoch = unique.decode(record.value), read_epoch(record.headers)
    except MalformedRecord:
        return
    firsts = read_firsts(record.headers)
    for number, reading in enumerate(chunk.readings):
        if reading.dedupe_id is not None:
            order = firsts[number] if number < len(firsts) else (epoch, chunk.origin.offset, LAST_INDEX)
            yield _row(reading.tenant_id, reading.dedupe_id), order


def _row(tenant_id: str, dedupe_id: str) -> int:
    return xxh3_64_intdigest(f"{tenant_id}\0{dedupe_id}".encode("utf-8", "surrogatepass"))
