"""What refine does before it decides on a chunk: read it, and run parse and validate over it. Pure."""

import logging
import traceback
from collections.abc import Collection, Sequence

import msgspec

from agents.fast_path import read_usual_message
from agents.parse import Parsed, parse
from agents.validate import validate
from streams.errors import MalformedRecord
from streams.logs.plain import plain
from streams.models import Candidate, Message, Origin, Reason, RejectedMessage, Rejection, Stage
from streams.rules.timestamp import EARLIEST
from streams.wire import raw
from streams.wire.decision import Refusal

log = logging.getLogger(__name__)

UNREADABLE_KEPT_BYTES = 1024
TURN_BYTES = 32 * 1024
"""Of unusual messages, after which others have a turn: half of the largest, or fifty small ones."""
MESSAGE_BYTES = 640
"""What an unusual message counts for beside its payload: it costs some 10 µs before it is looked at."""


class Examined(msgspec.Struct):
    """A chunk after parse and validate, or amid them."""

    messages: Sequence[Message]
    candidates: dict[int, Candidate]
    rejections: dict[int, Rejection]
    disagreeing: int = 0
    """Messages whose payload repeats tenant, agent or metric otherwise than their topic."""
    done: int = 0
    """How many messages have been examined."""
    over_quota: frozenset[int] = frozenset()
    """Those that are rejected without being looked at."""

    @property
    def is_done(self) -> bool:
        """Whether all have."""
        return self.done >= len(self.messages)


QUOTA_EXCEEDED = Rejection(Stage.QUOTA, Reason.QUOTA_EXCEEDED, "beyond what its tenant may send")


def begun(messages: Sequence[Message], over_quota: Collection[int] = ()) -> Examined:
    """Return a chunk of which nothing has been looked at.

    Args:
        messages: of the chunk.
        over_quota: indexes of those that are beyond their tenant's quota. They never are looked at: who
            floods is to cost as little as can be.
    """
    over = frozenset(index for index in over_quota if index < len(messages))
    return Examined(messages, {}, dict.fromkeys(over, QUOTA_EXCEEDED), over_quota=over)


def read_chunk(value: bytes) -> tuple[list[Message], dict[int, Rejection]]:
    """Decode a raw record; one that is no chunk becomes a single rejected message with its beginning."""
    try:
        return raw.decode(value), {}
    except MalformedRecord as error:
        beginning = value[:UNREADABLE_KEPT_BYTES].decode(errors="replace")
        message = Message(topic="", payload=beginning, size_bytes=len(value))
        return [message], {0: Rejection(Stage.PARSE, Reason.INTERNAL_ERROR, f"not a chunk: {error}")}


def examine(
    messages: Sequence[Message],
    origin: Origin,
    max_clock_skew_s: float,
    skip: frozenset[int] | set[int] = frozenset(),
    earliest: str = EARLIEST,
) -> Examined:
    """Run parse and validate over a chunk; a bug on one message rejects that message alone."""
    examined = Examined(messages, {}, {})
    while not examined.is_done:
        go_on(examined, origin, max_clock_skew_s, skip, earliest)
    return examined


def go_on(
    examined: Examined,
    origin: Origin,
    max_clock_skew_s: float,
    skip: frozenset[int] | set[int] = frozenset(),
    earliest: str = EARLIEST,
) -> None:
    """Examine until all is done, or others should have the event loop.

    That is after some bytes of messages that are not of the usual kind: those may cost a millisecond each. A
    chunk of usual ones is over before it would matter.
    """
    candidates, rejections = examined.candidates, examined.rejections
    rest = examined.messages[examined.done :] if examined.done else examined.messages
    spent_bytes = 0
    for index, message in enumerate(rest, examined.done):
        if index in skip:
            continue
        parsed: Parsed | Rejection | None = None
        try:
            if (usual := read_usual_message(message, index, earliest)) is not None:
                candidates[index] = usual
                continue
            spent_bytes += len(message.payload or message.payload_base64 or "") + MESSAGE_BYTES
            parsed = parse(message)
            if isinstance(parsed, Parsed):
                examined.disagreeing += parsed.disagrees
                outcome = validate(
                    parsed, origin, index, message.received_at, max_clock_skew_s, earliest, message.first
                )
            else:
                outcome = parsed
        except Exception as bug:
            # The one place where a bug becomes a rejection: nothing a device sends may hold up its partition.
            log.exception("a bug on message %d of chunk %d-%d", index, origin.partition, origin.offset)
            stage = Stage.PARSE if parsed is None else Stage.VALIDATE
            outcome = Rejection(stage, Reason.INTERNAL_ERROR, last_line(bug))
        if isinstance(outcome, Candidate):
            candidates[index] = outcome
        else:
            rejections[index] = outcome
        if spent_bytes > TURN_BYTES:
            examined.done = index + 1
            return
    examined.done = len(examined.messages)


def last_line(bug: BaseException) -> str:
    """Return the last line of an exception's traceback; it may quote what a device has sent."""
    return plain(traceback.format_exception_only(bug)[-1].strip())


def by_reason(
    messages: Sequence[Message], refusals: Sequence[Refusal]
) -> dict[tuple[Stage, Reason], list[RejectedMessage]]:
    """Group a chunk's rejected messages, each as it came, by stage and reason.

    A refusal of a message that the chunk does not have stands for nothing and is left out: it can only come
    from a row of the changelog that somebody else wrote.
    """
    groups: dict[tuple[Stage, Reason], list[RejectedMessage]] = {}
    for refusal in refusals:
        if refusal.index >= len(messages):
            continue
        message = messages[refusal.index]
        groups.setdefault((refusal.stage, refusal.reason), []).append(
            RejectedMessage(
                index=refusal.index,
                topic=message.topic,
                payload=message.payload,
                payload_base64=message.payload_base64,
                received_at=message.received_at,
                qos=message.qos,
                size_bytes=message.size_bytes,
                detail=refusal.detail,
                first=message.first,
            )
        )
    return groups
