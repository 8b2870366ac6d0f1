"""The topic: ``metrics/{tenant_id}/{agent_id}/{metric_name}``, the truth for all three."""

from typing import NamedTuple

from streams.models import Reason
from streams.rules.problem import Problem, shown

ROOT = "metrics"
LEVELS = 4


class TopicLevels(NamedTuple):
    """What the topic names."""

    tenant_id: str
    agent_id: str
    metric_name: str


def split_topic(topic: str) -> TopicLevels | Problem:
    """Take a topic apart; its levels are checked later, for themselves."""
    levels = topic.split("/")
    if len(levels) != LEVELS or levels[0] != ROOT:
        return _malformed(f"the topic is {shown(topic)}")
    if not all(levels):
        return _malformed("a level of the topic is empty")
    if "\0" in topic:
        return _malformed("the topic holds a NUL")
    return TopicLevels(levels[1], levels[2], levels[3])


def _malformed(found: str) -> Problem:
    return Problem(
        Reason.TOPIC_MALFORMED, f"{found}; it must be {ROOT}/{{tenant_id}}/{{agent_id}}/{{metric_name}}"
    )
