"""Looks at Kafka: the topics, and who is in the consumer group."""

from collections.abc import Iterable, Mapping, Sequence

from streams.config.urls import shown_url
from streams.doctor.finding import Finding, broken, ok, warning
from streams.doctor.seen import Sightings
from streams.kafka.admin import find_topics
from streams.kafka.group import STABLE, GroupState, KafkaGroup
from streams.kafka.topic_checks import Found, bounds, differences, unsafe
from streams.settings import Settings
from streams.topics import TopicSpec, topic_specs

PART = "kafka"
SETUP = "metric-streams setup"
SHOWN = 4


async def examine_topics(settings: Settings) -> list[Finding]:
    """Look at the topics.

    Raises:
        Outage: Kafka does not answer.
    """
    found = await find_topics(settings)
    return list(of_topics(topic_specs(settings), found, settings))


def of_topics(
    specs: Sequence[TopicSpec], found: Mapping[str, Found], settings: Settings
) -> Iterable[Finding]:
    """Return what is to be said of the topics that exist, and of those that do not."""
    bootstrap = ",".join(settings.bootstrap_servers)
    standing = {spec.name: spec for spec in specs if spec.name in found}
    if not standing:
        seen = f"{shown_url(settings.broker_url)} has none of the topics {settings.topic_prefix}.*"
        yield broken(PART, seen, f"{SETUP}, which creates them; or let TOPIC_PREFIX name those that exist")
        return
    faults = [fault for name, spec in standing.items() for fault in unsafe(spec, found[name], bootstrap)]
    yield from (broken(PART, fault.seen, fault.mend) for fault in faults)
    missing = [spec.name for spec in specs if spec.name not in found]
    if missing:
        mend = f"{SETUP}, then restart the workers: what was in it is gone, so find out who deleted it"
        yield broken(PART, f"there is no topic {', '.join(missing)}", mend)
    for name, spec in standing.items():
        for line in differences(spec, found[name]):
            yield warning(PART, line, "Leave it, if that is meant; else kafka-configs --alter changes it")
        yield from (warning(PART, each.seen, each.mend) for each in bounds(spec, found[name]))
    if untold := [name for name in standing if found[name].configs is None]:
        seen = f"it does not tell how {', '.join(untold)} are configured"
        yield warning(PART, seen, "Grant DESCRIBE_CONFIGS on them; a broker such as Tansu cannot tell")
    if not faults and not missing:
        copies = min(each.replication_factor for each in found.values())
        kept = f"{settings.topic_partitions} partitions each, {copies} cop{'y' if copies == 1 else 'ies'}"
        yield ok(PART, f"{len(standing)} topics stand with {kept}")


async def examine_group(settings: Settings, seen: Sightings) -> list[Finding]:
    """Look at the consumer group.

    Raises:
        Outage: Kafka does not answer.
    """
    group = KafkaGroup(settings, [settings.raw_topic, settings.unique_topic])
    try:
        standing = await group.standing()
        # Tansu does not say what members hold; of several a real Kafka says it of each.
        tells = standing is not None and len(standing.held) > 0
        unheld = await group.unheld() if tells else []
    finally:
        await group.close()
    seen.members = None if standing is None else standing.members
    names = [f"{tp.topic}[{tp.partition}]" for tp in sorted(unheld)]
    return list(of_group(standing, names, settings.consumer_group))


def of_group(standing: GroupState | None, unheld: Sequence[str], name: str) -> Iterable[Finding]:
    """Return what is to be said of the group.

    Args:
        standing: as Kafka describes it; None if it does not.
        unheld: the partitions that nobody holds, as they are shown.
        name: CONSUMER_GROUP.
    """
    if standing is None:
        yield warning(
            PART, f"it does not describe the group {name}", "Grant DESCRIBE on it; Tansu cannot tell"
        )
    elif not standing.members:
        yield broken(PART, f"no worker is in the group {name}", "Start one: metric-streams worker")
    elif standing.state != STABLE:
        seen = (
            f"the group {name} is {standing.state}: its {standing.members} workers share the partitions anew"
        )
        yield warning(PART, seen, "Look again in half a minute; if it stays so, see the workers' logs")
    elif unheld:
        more = f" and {len(unheld) - SHOWN} more" if len(unheld) > SHOWN else ""
        seen = f"nobody holds {', '.join(unheld[:SHOWN])}{more}"
        yield broken(PART, seen, "Restart the workers, which then share out all partitions")
    else:
        many = "s are" if standing.members != 1 else " is"
        held = " and hold all partitions" if standing.held else ""
        yield ok(PART, f"{standing.members} worker{many} in the group {name}{held}")
