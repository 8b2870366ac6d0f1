"""The first step of refine: take a message's topic and payload apart. Pure.

Nothing that a device sends makes it raise.
"""

import msgspec

from streams.models import Message, Rejection, Stage
from streams.rules.payload import Payload, read_payload
from streams.rules.problem import Problem
from streams.rules.topic import TopicLevels, split_topic


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """A message taken apart, nothing of it checked yet."""

    tenant_id: str
    agent_id: str
    metric_name: str
    value: object
    """As decoded from JSON, as are the two that follow; None where absent or null."""
    timestamp: object
    dedupe_id: object
    disagrees: bool
    """The payload repeats tenant, agent or metric otherwise than the topic, which is the truth."""


def parse(message: Message) -> Parsed | Rejection:
    """Take a message apart, or say why it cannot be."""
    levels = split_topic(message.topic)
    if isinstance(levels, Problem):
        return Rejection(Stage.PARSE, *levels)
    payload = read_payload(message)
    if isinstance(payload, Problem):
        return Rejection(Stage.PARSE, *payload)
    return Parsed(
        *levels, payload.value, payload.timestamp, payload.dedupe_id, disagrees=_disagrees(levels, payload)
    )


def _disagrees(levels: TopicLevels, payload: Payload) -> bool:
    return (
        (payload.tenant_id is not None and not _same(payload.tenant_id, levels.tenant_id))
        or (payload.agent_id is not None and payload.agent_id != levels.agent_id)
        or (payload.metric_name is not None and payload.metric_name != levels.metric_name)
    )


def _same(tenant_id: object, level: str) -> bool:
    """Compare tenant ids, which may be written in either case."""
    return isinstance(tenant_id, str) and tenant_id.lower() == level.lower()
