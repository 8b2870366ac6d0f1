"""Parse and validate in one go, for the message that nearly every device sends. Pure.

Gives just what `agents.parse` and `agents.validate` give, in two thirds of the time, or None: then those two
take the message, and find the words for what is wrong.
"""

import msgspec

from agents.validate import arrival
from streams.models import Candidate, Message, Reading
from streams.rules.identity import content, row_id
from streams.rules.json_depth import SHORT, has_many_brackets
from streams.rules.names import DEDUPE_ID_LENGTH
from streams.rules.timestamp import EARLIEST, read_usual
from streams.rules.topic import LONGEST_REMEMBERED, Series, read_short_topic
from streams.rules.value import BOUND

LONGEST = 4 * 1024
"""Characters of a payload that may be of the usual kind: of one that is not, this is a decoding in vain."""


class _Payload(msgspec.Struct, frozen=True, gc=False):
    value: int | float
    timestamp: str
    dedupe_id: str
    tenant_id: None = None
    agent_id: None = None
    metric_name: None = None


_decode = msgspec.json.Decoder(_Payload).decode


def read_usual_message(message: Message, index: int, earliest: str = EARLIEST) -> Candidate | None:
    """Return what dedupe is to judge, or None for a message that is not of the usual kind.

    That is one with a sound topic and a payload of a number, a timestamp in RFC 3339 with 3 or 6 digits that
    is neither ahead of the arrival nor before the earliest, and a dedupe id in ASCII.

    Args:
        message: as it came.
        index: its place in the chunk.
        earliest: MIN_TIMESTAMP, as rows have it.

    Raises:
        MalformedRecord: if its time of arrival, which is our own, cannot be read.
    """
    text, topic = message.payload, message.topic
    if text is None or len(topic) > LONGEST_REMEMBERED:
        return None
    # By a cache: a device sends on the same topics again and again.
    series = read_short_topic(topic)
    if (
        (len(text) > SHORT and (len(text) > LONGEST or has_many_brackets(text)))
        or type(series) is not Series
        or not series.is_sound
        or message.size_bytes is not None
    ):
        return None
    try:
        payload = _decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    value, dedupe_id = payload.value, payload.dedupe_id
    time = read_usual(payload.timestamp)
    if time is None or not earliest <= time <= arrival(message.received_at) or not -BOUND <= value <= BOUND:
        return None
    # Of one character it may be "0", which PHP takes for none. What is not ASCII the steps look at.
    if not 1 < len(dedupe_id) <= DEDUPE_ID_LENGTH or not dedupe_id.isascii() or "\0" in dedupe_id:
        return None
    value = value or abs(value)  # as `streams.rules.value`
    id_ = row_id(series, dedupe_id)
    reading = Reading(
        index=index,
        tenant_id=series.tenant_id,
        agent_id=series.agent_id,
        metric_name=series.metric_name,
        value=value,
        timestamp=time,
        dedupe_id=dedupe_id,
        key=id_.hex(),
    )
    return Candidate(reading, id_, content(series, value, time))
