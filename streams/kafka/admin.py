"""Creates the topics, and refuses those that the guarantees cannot be kept on.

Used by ``setup`` and by the worker before its consumer subscribes: a topic that is missing then is never
consumed until the next rebalance.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.errors import Outage, StartupRefused
from streams.settings import Settings
from streams.topics import TopicSpec, topic_specs

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 10_000


async def ensure_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing.

    Returns:
        One line for each topic: created or present.

    Raises:
        Outage: if Kafka does not answer.
        StartupRefused: if a topic stands with another number of partitions, or Kafka refuses one.
    """
    specs = topic_specs(settings)
    try:
        async with _admin(settings.bootstrap_servers) as admin:
            present = await _partitions(admin)
            problems = _mismatches(specs, present)
            if problems:
                raise StartupRefused("\n".join(problems))
            missing = [spec for spec in specs if spec.name not in present]
            if missing:
                _check_created(await admin.create_topics([_new_topic(spec) for spec in missing]))
    except KafkaError as error:
        raise Outage("kafka", f"{settings.broker_url}: {error!r}") from error
    return [_line(spec, created=spec in missing) for spec in specs]


@asynccontextmanager
async def _admin(bootstrap_servers: Sequence[str]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=list(bootstrap_servers), request_timeout_ms=REQUEST_TIMEOUT_MS
    )
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    # All topics, since asking for one that is missing may create it, with the broker's defaults.
    topics: list[dict[str, Any]] = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in topics}


def _mismatches(specs: Sequence[TopicSpec], present: Mapping[str, int]) -> list[str]:
    return [
        f"topic {spec.name} has {present[spec.name]} partitions, but TOPIC_PARTITIONS={spec.partitions}: a "
        "tenant's messages, its dedupe state and its fence share one partition. Set TOPIC_PARTITIONS to what "
        "stands, or use another TOPIC_PREFIX and CONSUMER_GROUP."
        for spec in specs
        if present.get(spec.name, spec.partitions) != spec.partitions
    ]


def _new_topic(spec: TopicSpec) -> NewTopic:
    return NewTopic(spec.name, spec.partitions, spec.replication_factor, topic_configs=spec.configs)


def _check_created(response: Any) -> None:
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        # Another worker may have been faster.
        if code and error is not TopicAlreadyExistsError:
            raise StartupRefused(
                f"Kafka does not create topic {name}: {error.__name__} {' '.join(filter(None, message))}"
            )


def _line(spec: TopicSpec, *, created: bool) -> str:
    configs = ", ".join(f"{key}={value}" for key, value in spec.configs.items())
    state = "created" if created else "present"
    return (
        f"{state:8} {spec.name} ({spec.partitions} partitions, {spec.replication_factor} copies, {configs})"
    )
