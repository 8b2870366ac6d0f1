"""The topic: ``metrics/{tenant_id}/{agent_id}/{metric_name}``, the truth for all three.

A device publishes to few topics and to each many times, so what a topic says is found out once.
"""

from functools import lru_cache
from hashlib import blake2b

import msgspec

from streams.models import Reason
from streams.rules.names import check_agent_id, check_metric_name, read_tenant_id
from streams.rules.problem import Problem, shown

ROOT = "metrics"
LEVELS = 4
TAG_BYTES = 8
REMEMBERED = 32_768
"""Topics; some 20 MB. A topic that is not among them costs 2 µs more."""
LONGEST_REMEMBERED = 512
"""Characters. A sound topic has at most 174; what is remembered of a longer one would be as long."""


class Series(msgspec.Struct, frozen=True, gc=False):
    """What the topic names, checked: one metric of one device."""

    tenant_id: str
    """In lower case, if it is a UUID."""
    agent_id: str
    metric_name: str
    names_problem: Problem | None
    """What is wrong with the agent or the metric."""
    tenant_problem: Problem | None
    is_sound: bool
    """Whether there is nothing wrong."""
    names: bytes
    """Agent and metric as they go into digests: the length in front tells where the first one ends."""
    tenant_tag: bytes
    """`TAG_BYTES` of BLAKE2b that stand for the tenant: nobody finds another one that has them."""


def read_topic(topic: str) -> Series | Problem:
    """Take a topic apart and check its levels."""
    return read_short_topic(topic) if len(topic) <= LONGEST_REMEMBERED else _read(topic)


def _read(topic: str) -> Series | Problem:
    # What is wrong is said in words: of a long topic only the beginning is shown.
    if topic.count("/") != LEVELS - 1:
        return _malformed(f"the topic {shown(topic)} has {topic.count('/') + 1} levels")
    levels = topic.split("/")
    if levels[0] != ROOT:
        return _malformed(f"the topic begins with {shown(levels[0])}")
    if not all(levels):
        return _malformed(f"level {levels.index('') + 1} of the topic {shown(topic)} is empty")
    if "\0" in topic:
        return _malformed(f"level {_level_with_nul(levels)} of the topic holds a NUL")
    _, tenant, agent_id, metric_name = levels
    tenant_id = read_tenant_id(tenant)
    names = f"{len(agent_id)}:{agent_id}{metric_name}".encode(errors="surrogatepass")
    names_problem = check_agent_id(agent_id) or check_metric_name(metric_name)
    tenant_problem = tenant_id if isinstance(tenant_id, Problem) else None
    known_as = tenant if isinstance(tenant_id, Problem) else tenant_id
    return Series(
        known_as,
        agent_id,
        metric_name,
        names_problem,
        tenant_problem,
        names_problem is None and tenant_problem is None,
        names,
        blake2b(known_as.encode(errors="surrogatepass"), digest_size=TAG_BYTES).digest(),
    )


read_short_topic = lru_cache(REMEMBERED)(_read)
"""Does what `read_topic` does, for topics of at most `LONGEST_REMEMBERED` characters."""


def _level_with_nul(levels: list[str]) -> int:
    return next(number for number, level in enumerate(levels, 1) if "\0" in level)


def _malformed(found: str) -> Problem:
    return Problem(
        Reason.TOPIC_MALFORMED, f"{found}; it must be {ROOT}/{{tenant_id}}/{{agent_id}}/{{metric_name}}"
    )
