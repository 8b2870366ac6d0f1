"""Creates the topics, and refuses those that the guarantees cannot be kept on.

Used by ``setup`` and by the worker before its consumer subscribes: a topic that is missing then is never
consumed until the next rebalance.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
    for_code,
)
from faust.types import TP

from streams.errors import Outage, StartupRefused
from streams.kafka.clients import administering
from streams.kafka.outages import as_outage
from streams.kafka.topic_checks import CHECKED, CLEANUP, Found, differences, problems
from streams.settings import Settings
from streams.topics import TopicSpec, operators_specs, topic_specs

log = logging.getLogger(__name__)

DESCRIBE_TRIES = 2
LEADERS_TRIES, LEADERS_WAIT_S = 300, 0.1


async def ensure_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing, and check those that exist.

    Returns:
        One line for each topic: created or present.

    Raises:
        Outage: if Kafka does not answer.
        StartupRefused: if there are topics on which the guarantees cannot be kept, or Kafka refuses one; a
            line for each problem, all at once.
    """
    specs = [*topic_specs(settings), *operators_specs(settings)]
    try:
        async with administering(settings) as admin:
            found = await _find(admin, specs)
            _check(specs, found, ",".join(settings.bootstrap_servers))
            missing = [spec for spec in specs if spec.name not in found]
            if missing:
                _check_created(await admin.create_topics([_new_topic(spec) for spec in missing]))
    except KafkaError as error:
        raise await as_outage(settings, error) from error
    return [_line(spec, created=spec in missing) for spec in specs]


async def find_topics(settings: Settings) -> dict[str, Found]:
    """Return those of our topics that exist, by name, and create none.

    Raises:
        Outage: if Kafka does not answer.
    """
    try:
        async with administering(settings) as admin:
            return await _find(admin, topic_specs(settings))
    except KafkaError as error:
        raise await as_outage(settings, error) from error


async def count_partitions(settings: Settings) -> dict[str, int]:
    """Return how many partitions those of our topics have that exist, those of the commands among them.

    Raises:
        Outage: if Kafka does not answer.
    """
    try:
        async with administering(settings) as admin:
            found = await _find(admin, [*topic_specs(settings), *operators_specs(settings)])
    except KafkaError as error:
        raise await as_outage(settings, error) from error
    return {name: topic.partitions for name, topic in found.items()}


async def add_partitions(settings: Settings, topic: str, count: int) -> bool:
    """Let a topic have so many partitions, and wait until each can be written to.

    Returns:
        Whether it had fewer.

    Raises:
        Outage: if Kafka does not answer, or does not make them in time.
        StartupRefused: if it does not let us.
    """
    try:
        async with administering(settings) as admin:
            had = len(await _partitions(admin, topic))
            if had < count:
                try:
                    await admin.create_partitions({topic: NewPartitions(count)})
                except TopicAuthorizationFailedError as error:
                    raise StartupRefused(
                        f"Kafka lets us add no partitions to {topic}: run this as who may Alter it"
                    ) from error
            await _wait_for(admin, topic, count)
            return had < count
    except KafkaError as error:
        raise await as_outage(settings, error) from error


async def _wait_for(admin: AIOKafkaAdminClient, topic: str, count: int) -> None:
    for _ in range(LEADERS_TRIES):
        partitions = await _partitions(admin, topic)
        # Created is not yet usable: Kafka chooses the leaders a moment later.
        if len(partitions) == count and all(each["leader"] >= 0 for each in partitions):
            return
        await asyncio.sleep(LEADERS_WAIT_S)
    raise Outage("kafka", f"the new partitions of {topic} have no leaders yet: run it again")


async def _partitions(admin: AIOKafkaAdminClient, topic: str) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = await admin.describe_topics()
    return next((list(each["partitions"]) for each in described if each["topic"] == topic), [])


async def committed_offsets(settings: Settings) -> dict[TP, int]:
    """Return up to where the consumer group has committed.

    Raises:
        Outage: if Kafka does not answer.
    """
    try:
        async with administering(settings) as admin:
            found = await admin.list_consumer_group_offsets(settings.consumer_group)
    except KafkaError as error:
        raise await as_outage(settings, error) from error
    return {TP(tp.topic, tp.partition): int(at.offset) for tp, at in found.items()}


async def _find(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> dict[str, Found]:
    # All topics, since asking for one that is missing may create it, with the broker's defaults.
    described: list[dict[str, Any]] = await admin.describe_topics()
    partitions = {topic["topic"]: topic["partitions"] for topic in described}
    present = [spec.name for spec in specs if spec.name in partitions]
    configs = await _configs(admin, present) if present else {}
    return {
        name: Found(len(partitions[name]), _copies(partitions[name]), configs.get(name)) for name in present
    }


def _copies(partitions: Sequence[dict[str, Any]]) -> int:
    return min((len(partition["replicas"]) for partition in partitions), default=0)


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what is configured for topics; those that Kafka does not tell of are missing."""
    told: dict[str, dict[str, str]] = {}
    for response in await _describe(admin, names):
        for code, _message, _type, name, entries in response.resources:
            if code:
                log.debug("Kafka does not describe %s: %s", name, for_code(code).__name__)
            else:
                told[name] = {key: value for key, value, *_ in entries if value is not None}
    return told


async def _describe(admin: AIOKafkaAdminClient, names: Sequence[str]) -> list[Any]:
    """Return Kafka's answers, none if it does not know the question."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(CHECKED)) for name in names]
    for _ in range(DESCRIBE_TRIES):
        try:
            return list(await admin.describe_configs(wanted))
        except (IncompatibleBrokerVersion, UnsupportedVersionError):
            break
        except KafkaConnectionError:
            # What Tansu answers; a Kafka that goes down does not answer the next question either, which makes
            # it an outage.
            await admin.list_topics()
    return []


def _check(specs: Sequence[TopicSpec], found: Mapping[str, Found], bootstrap: str) -> None:
    standing = [(spec, found[spec.name]) for spec in specs if spec.name in found]
    differing = [line for spec, topic in standing for line in differences(spec, topic)]
    if differing:
        log.warning("%s; that is safe, and left as it is", "; ".join(differing))
    untold = [spec.name for spec, topic in standing if CLEANUP not in (topic.configs or {})]
    if untold:
        log.warning("could not check how %s are configured: Kafka does not describe them", ", ".join(untold))
    unsafe = [line for spec, topic in standing for line in problems(spec, topic, bootstrap)]
    if unsafe:
        raise StartupRefused("\n".join(unsafe))


def _new_topic(spec: TopicSpec) -> NewTopic:
    return NewTopic(spec.name, spec.partitions, spec.replication_factor, topic_configs=spec.configs)


def _check_created(response: Any) -> None:
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        # Another worker may have been faster.
        if code and error is not TopicAlreadyExistsError:
            mend = ""
            if error is TopicAuthorizationFailedError:
                mend = ": grant us Create on it (docker/secure/kafka-acls), or let who may run setup once"
            told = f"{error.__name__} {' '.join(filter(None, message))}".rstrip(". ")
            raise StartupRefused(f"Kafka does not create topic {name}: {told}{mend}")


def _line(spec: TopicSpec, *, created: bool) -> str:
    configs = ", ".join(f"{key}={value}" for key, value in spec.configs.items())
    state = "created" if created else "present"
    return (
        f"{state:8} {spec.name} ({spec.partitions} partitions, {spec.replication_factor} copies, {configs})"
    )
