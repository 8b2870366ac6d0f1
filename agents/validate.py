"""The second step of refine: hold a parsed message to the rules and give it an identity. Pure.

The checks come in the order of `streams.models.Reason`: of several faults the first is named. No clock is
asked, only the time of arrival that the message carries, so a replay finds the same.
"""

from typing import NamedTuple

from agents.parse import Parsed
from streams.errors import MalformedRecord
from streams.models import Candidate, Origin, Reading, Reason, Rejection, Stage
from streams.rules.identity import content, coordinate_key, derived_key, row_id
from streams.rules.names import check_agent_id, check_metric_name, read_dedupe_id, read_tenant_id
from streams.rules.problem import Problem
from streams.rules.timestamp import check_skew, format_timestamp, read_timestamp
from streams.rules.value import read_value


class _Checked(NamedTuple):
    """What a valid message says."""

    tenant_id: str
    agent_id: str
    metric_name: str
    value: int | float
    time_us: int | None
    """The device's own timestamp, microseconds since 1970."""
    dedupe_id: str | None


def validate(
    parsed: Parsed, *, origin: Origin, index: int, received_at: str, max_clock_skew_s: float
) -> Candidate | Rejection:
    """Return what dedupe is to judge, or say what is wrong with the message.

    Args:
        parsed: the message taken apart.
        origin: the coordinate of its chunk.
        index: its place in the chunk.
        received_at: when it arrived, RFC 3339; it stands in for a missing timestamp.
        max_clock_skew_s: how far, in seconds, a timestamp may lie ahead of the arrival.

    Raises:
        MalformedRecord: if `received_at`, which is our own, cannot be read.
    """
    received_us = _arrival(received_at)
    checked = _check(parsed, received_us, max_clock_skew_s)
    if isinstance(checked, Problem):
        return Rejection(Stage.VALIDATE, *checked)
    tenant_id, agent_id, metric_name, value, time_us, dedupe_id = checked
    key, id_ = _identify(checked, origin, index, received_at)
    timestamp = format_timestamp(received_us if time_us is None else time_us)
    reading = Reading(index, tenant_id, agent_id, metric_name, value, timestamp, dedupe_id, key)
    return Candidate(reading, id_, content(agent_id, metric_name, value, time_us))


def tenant_unknown(tenant_id: str) -> Rejection:
    """Return the rejection of a message whose tenant the application does not know."""
    return Rejection(Stage.VALIDATE, Reason.TENANT_UNKNOWN, f"no tenant {tenant_id}")


def _arrival(received_at: str) -> int:
    received_us = read_timestamp(received_at)
    if isinstance(received_us, Problem):
        raise MalformedRecord(f"received_at cannot be read: {received_us.detail}")
    return received_us


def _check(parsed: Parsed, received_us: int, max_clock_skew_s: float) -> _Checked | Problem:
    value = read_value(parsed.value)
    if isinstance(value, Problem):
        return value
    time_us = None if parsed.timestamp is None else read_timestamp(parsed.timestamp)
    if isinstance(time_us, int):
        time_us = check_skew(time_us, received_us, max_clock_skew_s)
    if isinstance(time_us, Problem):
        return time_us
    problem = check_agent_id(parsed.agent_id) or check_metric_name(parsed.metric_name)
    if problem is not None:
        return problem
    dedupe_id = read_dedupe_id(parsed.dedupe_id)
    if isinstance(dedupe_id, Problem):
        return dedupe_id
    tenant_id = read_tenant_id(parsed.tenant_id)
    if isinstance(tenant_id, Problem):
        return tenant_id
    return _Checked(tenant_id, parsed.agent_id, parsed.metric_name, value, time_us, dedupe_id)


def _identify(checked: _Checked, origin: Origin, index: int, received_at: str) -> tuple[str, bytes | None]:
    """Return the reading's key, and the id that dedupe remembers of the row it writes."""
    tenant_id, agent_id, metric_name, value, time_us, dedupe_id = checked
    if dedupe_id is not None:
        id_ = row_id(tenant_id, dedupe_id)
        return id_.hex(), id_
    if time_us is not None:
        key = derived_key(tenant_id, agent_id, metric_name, value, time_us)
        return key, row_id(tenant_id, key)
    key = coordinate_key(
        origin,
        index,
        tenant_id=tenant_id,
        agent_id=agent_id,
        metric_name=metric_name,
        value=value,
        received_at=received_at,
    )
    return key, None
