"""The first step of refine: take a message's topic and payload apart. Pure.

Nothing that a device sends makes it raise.
"""

import msgspec

from streams.models import Message, Payload, Rejection, Stage
from streams.rules.payload import read_payload
from streams.rules.problem import Problem
from streams.rules.topic import Series, read_topic


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """A message taken apart."""

    series: Series
    payload: Payload
    """As decoded from JSON, nothing of it checked yet."""

    disagrees: bool
    """The payload repeats tenant, agent or metric otherwise than the topic, which is the truth."""


def parse(message: Message) -> Parsed | Rejection:
    """Take a message apart, or say why it cannot be."""
    # Before the payload: of several faults the first in the order of `Reason` is named.
    series = read_topic(message.topic)
    if isinstance(series, Problem):
        return Rejection(Stage.PARSE, *series)
    payload = read_payload(message)
    if isinstance(payload, Problem):
        return Rejection(Stage.PARSE, *payload)
    return Parsed(series, payload, _disagrees(series, payload))


def _disagrees(series: Series, payload: Payload) -> bool:
    return (
        (payload.tenant_id is not None and not _same(payload.tenant_id, series.tenant_id))
        or (payload.agent_id is not None and payload.agent_id != series.agent_id)
        or (payload.metric_name is not None and payload.metric_name != series.metric_name)
    )


def _same(tenant_id: object, level: str) -> bool:
    """Compare tenant ids, which may be written in either case."""
    return isinstance(tenant_id, str) and tenant_id.lower() == level.lower()
