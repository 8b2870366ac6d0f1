"""The second step of refine: hold a parsed message to the rules and give it an identity. Pure.

The checks come in the order of `streams.models.Reason`: of several faults the first is named. No clock is
asked, only the time of arrival that the message carries, so a replay finds the same.
"""

from functools import lru_cache

from agents.parse import Parsed
from streams.errors import MalformedRecord
from streams.models import FURTHER, Candidate, FirstPlace, Origin, Payload, Reading, Reason, Rejection, Stage
from streams.rules.identity import content, coordinate_key, derived_key, row_id
from streams.rules.names import TEXTS
from streams.rules.problem import Problem
from streams.rules.timestamp import EARLIEST, check_earliest, check_skew, read_timestamp
from streams.rules.value import read_value


def validate(  # noqa: PLR0917 - a call with names costs each message more
    parsed: Parsed,
    origin: Origin,
    index: int,
    received_at: str,
    max_clock_skew_s: float,
    earliest: str = EARLIEST,
    first: FirstPlace | None = None,
) -> Candidate | Rejection:
    """Return what dedupe is to judge, or say what is wrong with the message.

    Args:
        parsed: the message taken apart.
        origin: the coordinate of its chunk.
        index: its place in the chunk.
        received_at: when it arrived, RFC 3339; it stands in for a missing timestamp.
        max_clock_skew_s: how far, in seconds, a timestamp may lie ahead of the arrival.
        earliest: before which no timestamp may lie, MIN_TIMESTAMP, in the form that rows have.
        first: where a message that was put back stood first: that place, not the one where it stands now,
            names the row where nothing else does.

    Raises:
        MalformedRecord: if `received_at`, which is our own, cannot be read.
    """
    series, payload, received = parsed.series, parsed.payload, arrival(received_at)
    value = read_value(payload.value)
    if isinstance(value, Problem):
        return Rejection(Stage.VALIDATE, *value)
    time = "" if payload.timestamp is None else _time(payload.timestamp, received, max_clock_skew_s, earliest)
    if isinstance(time, Problem):
        return Rejection(Stage.VALIDATE, *time)
    if series.names_problem is not None:
        return Rejection(Stage.VALIDATE, *series.names_problem)
    texts = _texts(payload)
    if isinstance(texts, Problem):
        return Rejection(Stage.VALIDATE, *texts)
    # In the order of `Reason`, in which the tenant is the last that needs no database.
    if series.tenant_problem is not None:
        return Rejection(Stage.VALIDATE, *series.tenant_problem)

    dedupe_id, id_ = texts["dedupe_id"], None
    if dedupe_id is not None:
        id_ = row_id(series, dedupe_id)
        key = id_.hex()
    elif time:
        key = derived_key(series, value, time)
        # An exact copy has the same time, so it is known again although the device has named no row.
        id_ = row_id(series, key)
    elif first is None:
        # Of nothing that a device could send twice: two equal messages without id and time are two rows.
        key = coordinate_key(origin, index, series, value, received)
    else:
        place = Origin(first.partition, first.offset)
        key = coordinate_key(place, first.index, series, value, received)
        id_ = row_id(series, key)  # a second replay is a duplicate, also where rows get no derived ids
    reading = Reading(
        index=index,
        tenant_id=series.tenant_id,
        agent_id=series.agent_id,
        metric_name=series.metric_name,
        value=value,
        timestamp=time or received,
        key=key,
        **texts,
    )
    return Candidate(reading, id_, content(series, value, time, [(name, texts[name]) for name in FURTHER]))


def tenant_unknown(tenant_id: str) -> Rejection:
    """Return the rejection of a message whose tenant the application does not know."""
    return Rejection(Stage.VALIDATE, Reason.TENANT_UNKNOWN, f"no tenant {tenant_id}")


@lru_cache(maxsize=1024)  # what arrives together has one time
def arrival(received_at: str) -> str:
    """Return a message's time of arrival in the form that rows have.

    Raises:
        MalformedRecord: if it cannot be read.
    """
    received = read_timestamp(received_at)
    if isinstance(received, Problem):
        raise MalformedRecord(f"received_at cannot be read: {received.detail}")
    return received


def _texts(payload: Payload) -> dict[str, str | None] | Problem:
    texts: dict[str, str | None] = {}
    for name, read in TEXTS.items():
        text = read(getattr(payload, name))
        if isinstance(text, Problem):
            return text
        texts[name] = text
    return texts


def _time(timestamp: object, received: str, max_clock_skew_s: float, earliest: str) -> str | Problem:
    time = read_timestamp(timestamp)
    if isinstance(time, str):
        time = check_earliest(time, earliest)
    return time if isinstance(time, Problem) else check_skew(time, received, max_clock_skew_s)
