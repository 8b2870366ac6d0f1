"""The topics: their names, partitions and configuration, in one place. Pure."""

from dataclasses import dataclass, field

from streams.settings import Settings

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""A chunk of 512 KiB, or one oversized message with every byte escaped, with room to spare."""

SEEN_TABLE = "seen"

COMPACTED_SOON = {
    "cleanup.policy": "compact",
    # A segment that is being written is never compacted, and all that is left has to be read by a command.
    "segment.bytes": str(8 * 1024 * 1024),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.2",
}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it should be."""

    name: str
    partitions: int
    replication_factor: int
    configs: dict[str, str] = field(default_factory=dict)


def seen_changelog(settings: Settings) -> str:
    """Return the changelog topic of the table ``seen``, as Faust names it."""
    return f"{settings.consumer_group}-{SEEN_TABLE}-changelog"


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Return every topic that the worker needs, in the order in which messages pass them.

    Examples:
        >>> from streams.settings import Settings
        >>> [topic.name for topic in topic_specs(Settings())]
        ['metrics.raw', 'metrics.unique', 'metrics.rejected', 'metric-streams-seen-changelog']
        >>> topic_specs(Settings.from_mapping({"RAW_RETENTION_S": "3600"}))[0].configs["retention.ms"]
        '3600000'
    """
    kept = _retention(settings.raw_retention_s)
    return [
        _spec(settings, settings.raw_topic, kept),
        _spec(settings, settings.unique_topic, kept),
        _spec(settings, settings.rejected_topic, _retention(settings.rejected_retention_s)),
        _spec(settings, seen_changelog(settings), {"cleanup.policy": "compact"}),
    ]


def operators_specs(settings: Settings) -> list[TopicSpec]:
    """Return the topics that the commands need; without them a worker carries just the same."""
    return [
        _spec(settings, settings.marks_topic, _retention(marks_retention_s(settings))),
        _spec(settings, settings.devices_topic, COMPACTED_SOON),
    ]


def marks_retention_s(settings: Settings) -> float:
    """Return how long a mark is kept: for longer than any record that it may be about.

    Kafka deletes whole segments, and begins a new one after a week by default.
    """
    return 2 * settings.rejected_retention_s + 14 * 86_400


def _spec(settings: Settings, name: str, configs: dict[str, str]) -> TopicSpec:
    common = {
        # The broker's clock: it takes no record of a worker whose own clock is an hour ahead
        # (message.timestamp.after.max.ms), and retention would go by that clock.
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MAX_RECORD_BYTES),
        "min.insync.replicas": str(settings.topic_min_insync_replicas),
    }
    return TopicSpec(name, settings.topic_partitions, settings.topic_replication_factor, common | configs)


def _retention(retention_s: float) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(int(retention_s * 1000))}
