"""Lists rejected messages: each once, without those that were put back or dismissed."""

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from xxhash import xxh3_64_intdigest

from streams.browse.filters import Filter
from streams.browse.messages import Browsed, TopicKind, TopicRecord
from streams.browse.reader import EVERYTHING, Range, scan_messages
from streams.errors import MalformedRecord
from streams.models import UNKNOWN_EPOCH, FirstPlace, RejectedMessage
from streams.progress import OnProgress, quiet
from streams.rejections.marks import Marks, read_marks
from streams.settings import Settings
from streams.wire.headers import EPOCH, read_epoch
from streams.wire.mark import Fate

COPIES_REMEMBERED = 65_536
"""Records. After an outage refine may emit some again, word for word."""


@dataclass(frozen=True)
class Selection:
    """Which rejected messages are meant.

    Attributes:
        wanted: what they must be like.
        span: when they were rejected, by the broker's clock.
        hidden: also those that were put back or dismissed.
    """

    wanted: Filter = field(default_factory=Filter)
    span: Range = EVERYTHING
    hidden: bool = False


@dataclass(frozen=True)
class Rejected:
    """A rejected message, and what has become of it."""

    message: Browsed
    mark: Fate | None

    @property
    def body(self) -> RejectedMessage:
        """The message as it came, with the detail."""
        body = self.message.body
        if not isinstance(body, RejectedMessage):
            raise MalformedRecord(f"{self.message.coordinate} is no rejected message")
        return body

    @property
    def attempts(self) -> int:
        """How many times it has been rejected."""
        first = self.body.first
        return 1 if first is None else first.replays + 1

    @property
    def first(self) -> FirstPlace:
        """Where it was first, and how many times it will have been put back, once it is again."""
        body, at = self.body, self.message.coordinate
        if body.first is not None:
            before = body.first
            return FirstPlace(before.epoch, before.partition, before.offset, before.index, before.replays + 1)
        return FirstPlace(_epoch_of(self.message.record), at.partition, at.offset, body.index)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON shows it."""
        shown = {"attempts": self.attempts, "mark": self.mark}
        return self.message.as_dict() | {name: value for name, value in shown.items() if value is not None}


def _epoch_of(record: TopicRecord) -> int:
    try:
        return read_epoch(record.headers) if EPOCH in record.headers else UNKNOWN_EPOCH
    except MalformedRecord:
        return UNKNOWN_EPOCH


async def rejections(
    settings: Settings, selection: Selection, *, marks: Marks | None = None, on_progress: OnProgress = quiet
) -> AsyncGenerator[Rejected, None]:
    """Yield the rejected messages that are meant, of each partition the oldest first.

    To be closed by whoever leaves it early (`contextlib.aclosing`).

    Args:
        settings: name the topics.
        selection: which of them.
        marks: those that hold now; None to read them first.
        on_progress: told how many records of how many have been read.

    Raises:
        MetricStreamsError: a topic does not exist.
        Outage: Kafka does not answer.
    """
    standing = await read_marks(settings) if marks is None else marks
    copies = Copies()
    found = scan_messages(
        settings, TopicKind.REJECTED, selection.wanted, _narrowed(selection), on_progress=on_progress
    )
    async with aclosing(found) as messages:
        async for message in messages:
            # After an outage refine emits a rejection once more, word for word: it is one rejection all the
            # same.
            if not isinstance(message.body, RejectedMessage) or copies.knows(message):
                continue
            mark = standing.of(message)
            if mark is None or selection.hidden:
                yield Rejected(message, mark)


def _narrowed(selection: Selection) -> Range:
    """Return the span, of those partitions alone in which the coordinates are that are asked for."""
    span, asked = selection.span, selection.wanted.coordinates
    if not asked or span.only is not None:
        return span
    return replace(span, only=frozenset(at.partition for at in asked))


class Copies:
    """Knows the messages of the records that were read lately."""

    def __init__(self) -> None:
        self._places: OrderedDict[int, int] = OrderedDict()
        self._last: TopicRecord | None = None
        self._is_copy = False

    def knows(self, message: Browsed) -> bool:
        """Tell whether the same rejection stood in another record before this one."""
        # Once for each record, not for each message: a record may have thousands, and is hashed whole.
        if message.record is not self._last:
            self._last, self._is_copy = message.record, self._holds(message)
        return self._is_copy

    def _holds(self, message: Browsed) -> bool:
        at, record = message.coordinate, message.record
        told = f"{at.partition}-{at.offset}-{message.stage}-{message.reason}".encode()
        place = self._places.setdefault(xxh3_64_intdigest(told + record.value), record.offset)
        if len(self._places) > COPIES_REMEMBERED:
            # A copy follows soon behind its first, so the oldest can be forgotten.
            self._places.popitem(last=False)
        return place != record.offset
