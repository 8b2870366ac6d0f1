"""What of an existing topic is unsafe, and what is merely otherwise than configured. Pure.

Between Kafka's description of the topics (`streams.kafka.admin`) and the start of the worker.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from streams.topics import TopicSpec

CLEANUP, INSYNC, SIZE, RETENTION, TIMESTAMPS, RETENTION_BYTES = (
    "cleanup.policy",
    "min.insync.replicas",
    "max.message.bytes",
    "retention.ms",
    "message.timestamp.type",
    "retention.bytes",
)
CHECKED = (CLEANUP, INSYNC, SIZE, RETENTION, TIMESTAMPS, RETENTION_BYTES)
UNBOUNDED = "-1"
WHY = {
    "delete": "its offsets must have no holes, and its records have no keys",
    "compact": "a table is rebuilt from it, and what was deleted would be dealt with twice",
}
"""Why a topic must have the cleanup policy that it has in `streams.topics`."""


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as Kafka describes it."""

    partitions: int
    replication_factor: int
    """The fewest copies that one of its partitions has."""
    configs: Mapping[str, str] | None = None
    """None if Kafka does not tell them."""


class Unsafe(NamedTuple):
    """What is unsafe about a topic."""

    seen: str
    mend: str

    def __str__(self) -> str:
        return f"{self.seen}. {self.mend}"


def problems(spec: TopicSpec, found: Found, bootstrap: str) -> list[str]:
    """Return what is unsafe about a topic: a line for each, with the mend."""
    return [str(each) for each in unsafe(spec, found, bootstrap)]


def unsafe(spec: TopicSpec, found: Found, bootstrap: str) -> list[Unsafe]:
    """Return what is unsafe about a topic, each with the mend."""
    return [
        *_partition_problems(spec, found),
        *_copy_problems(spec, found, bootstrap),
        *_config_problems(spec, found, bootstrap),
    ]


def differences(spec: TopicSpec, found: Found) -> list[str]:
    """Return what is safe, but not as configured."""
    configs = found.configs or {}
    return [
        f"topic {spec.name} has {key}={configs[key]}, configured is {spec.configs[key]}"
        for key in (RETENTION, TIMESTAMPS)
        if key in spec.configs and configs.get(key, spec.configs[key]) != spec.configs[key]
    ]


def bounds(spec: TopicSpec, found: Found) -> list[Unsafe]:
    """Return what lets a topic lose records before its time, or in time otherwise than configured."""
    configs = found.configs or {}
    size = configs.get(RETENTION_BYTES, UNBOUNDED)
    if size == UNBOUNDED or spec.configs[CLEANUP] != "delete":
        return []
    seen = f"topic {spec.name} has {RETENTION_BYTES}={size}: beyond that its records go, however young"
    return [Unsafe(seen, f"Remove {RETENTION_BYTES} from it, or give the disk room and set it higher")]


def _partition_problems(spec: TopicSpec, found: Found) -> Iterator[Unsafe]:
    stands, wanted = found.partitions, spec.partitions
    # Neither more nor fewer: a tenant's partition is its hash modulo this number.
    if stands == wanted:
        return
    seen = (
        f"topic {spec.name} has {stands} partitions, but TOPIC_PARTITIONS={wanted}: a tenant's messages, its "
        "dedupe state and its fence share one partition"
    )
    if stands > wanted:
        yield Unsafe(
            seen,
            f"Set TOPIC_PARTITIONS={stands}. Where other topics have fewer, partitions were being added: "
            f"stop all workers, and finish it with metric-streams partitions {stands}",
        )
    else:
        yield Unsafe(
            seen,
            f"Set TOPIC_PARTITIONS={stands}; or stop all workers, and add partitions with metric-streams "
            f"partitions {wanted}",
        )


def _copy_problems(spec: TopicSpec, found: Found, bootstrap: str) -> Iterator[Unsafe]:
    if found.replication_factor < spec.replication_factor:
        yield Unsafe(
            f"topic {spec.name} has a partition with {found.replication_factor} copies, but "
            f"TOPIC_REPLICATION_FACTOR={spec.replication_factor}: fewer brokers may be lost than you "
            "count on",
            f"Add copies with kafka-reassign-partitions --bootstrap-server {bootstrap}, or set "
            "TOPIC_REPLICATION_FACTOR to what the topic has.",
        )


def _config_problems(spec: TopicSpec, found: Found, bootstrap: str) -> Iterator[Unsafe]:
    configs = found.configs or {}
    policy, wanted = configs.get(CLEANUP), spec.configs[CLEANUP]
    # None where Kafka does not tell its configuration: then it is only warned of.
    if policy is not None and policy != wanted:
        why = f"{CLEANUP}={policy}, it must be {wanted}: {WHY[wanted]}"
        yield _to_configure(spec, bootstrap, CLEANUP, wanted, why)
    size, least = _number(configs, SIZE), int(spec.configs[SIZE])
    if size is not None and size < least:
        why = f"{SIZE}={size}, it must be at least {least}: a record that is larger would never be taken"
        yield _to_configure(spec, bootstrap, SIZE, str(least), why)
    yield from _insync_problems(spec, found, bootstrap)


def _insync_problems(spec: TopicSpec, found: Found, bootstrap: str) -> Iterator[Unsafe]:
    insync, wanted = _number(found.configs or {}, INSYNC), spec.configs[INSYNC]
    if insync is None:
        return
    if insync < int(wanted):
        why = f"{INSYNC}={insync}, but TOPIC_MIN_INSYNC_REPLICAS={wanted}: a written record could be lost"
        yield _to_configure(spec, bootstrap, INSYNC, wanted, why)
    # Kafka takes such a setting, and then refuses every record.
    elif insync > found.replication_factor:
        why = f"{INSYNC}={insync} and {found.replication_factor} copies: nothing can be written"
        yield _to_configure(spec, bootstrap, INSYNC, wanted, why)


def _to_configure(spec: TopicSpec, bootstrap: str, key: str, value: str, why: str) -> Unsafe:
    return Unsafe(
        f"topic {spec.name} has {why}",
        f"Mend it with kafka-configs --bootstrap-server {bootstrap} --alter "
        f"--entity-type topics --entity-name {spec.name} --add-config {key}={value}",
    )


def _number(configs: Mapping[str, str], key: str) -> int | None:
    value = configs.get(key, "")
    return int(value) if value.isdigit() else None
