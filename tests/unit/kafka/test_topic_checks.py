"""The topics that stand: what is unsafe refuses the start, with the mend; what is not does not."""

import pytest

from streams.kafka.topic_checks import Found, differences, problems
from streams.settings import Settings
from streams.topics import TopicSpec, topic_specs

SETTINGS = Settings.from_mapping({"TOPIC_REPLICATION_FACTOR": "3", "TOPIC_MIN_INSYNC_REPLICAS": "2"})
RAW, UNIQUE, REJECTED, CHANGELOG = topic_specs(SETTINGS)
BOOTSTRAP = "kafka-1:9092"


def _found(spec: TopicSpec, *, partitions: int = 8, copies: int = 3, **configs: str) -> Found:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    return Found(partitions, copies, {**spec.configs, **named})


@pytest.mark.parametrize("spec", [RAW, UNIQUE, REJECTED, CHANGELOG])
def test_a_topic_as_it_is_created_is_fine(spec: TopicSpec) -> None:
    assert problems(spec, _found(spec), BOOTSTRAP) == []
    assert differences(spec, _found(spec)) == []


@pytest.mark.parametrize(
    ("spec", "found", "told"),
    [
        (RAW, _found(RAW, partitions=6), ["6 partitions", "TOPIC_PARTITIONS=8", "Set TOPIC_PARTITIONS=6"]),
        (RAW, _found(RAW, partitions=4), ["metric-streams partitions 8"]),
        (RAW, _found(RAW, partitions=16), ["Set TOPIC_PARTITIONS=16", "metric-streams partitions 16"]),
        (RAW, _found(RAW, copies=2), ["2 copies", "TOPIC_REPLICATION_FACTOR=3", "kafka-reassign-partitions"]),
        (RAW, _found(RAW, min_insync_replicas="1"), ["--add-config min.insync.replicas=2"]),
        (RAW, _found(RAW, min_insync_replicas="4"), ["nothing can be written"]),
        (RAW, _found(RAW, cleanup_policy="compact"), ["--add-config cleanup.policy=delete", "no holes"]),
        (UNIQUE, _found(UNIQUE, cleanup_policy="compact,delete"), ["--add-config cleanup.policy=delete"]),
        (CHANGELOG, _found(CHANGELOG, cleanup_policy="delete"), ["--add-config cleanup.policy=compact"]),
        (CHANGELOG, _found(CHANGELOG, cleanup_policy="compact,delete"), ["cleanup.policy=compact"]),
        (RAW, _found(RAW, max_message_bytes="1048588"), ["--add-config max.message.bytes=4194304"]),
    ],
)
def test_what_is_unsafe_is_one_line_with_its_mend(spec: TopicSpec, found: Found, told: list[str]) -> None:
    (line,) = problems(spec, found, BOOTSTRAP)
    for part in [spec.name, *told]:
        assert part in line
    if "--add-config" in line:
        assert f"kafka-configs --bootstrap-server {BOOTSTRAP} --alter" in line


@pytest.mark.parametrize(
    "found",
    [
        _found(RAW, copies=5),
        _found(RAW, min_insync_replicas="3"),
        _found(RAW, max_message_bytes="8388608"),
        _found(RAW, retention_ms="1000"),
    ],
)
def test_more_than_configured_is_fine_and_so_is_another_retention(found: Found) -> None:
    assert problems(RAW, found, BOOTSTRAP) == []


def test_another_retention_is_said() -> None:
    (line,) = differences(RAW, _found(RAW, retention_ms="1000"))
    assert "retention.ms=1000" in line
    assert "604800000" in line


def test_all_problems_of_a_topic_are_told_at_once() -> None:
    found = _found(RAW, partitions=1, copies=1, cleanup_policy="compact", max_message_bytes="1")
    told = "\n".join(problems(RAW, found, BOOTSTRAP))
    for part in ("1 partitions", "1 copies", "cleanup.policy=compact,", "max.message.bytes=1,"):
        assert part in told


def test_what_kafka_does_not_tell_is_no_problem() -> None:
    assert problems(RAW, Found(8, 3, None), BOOTSTRAP) == []
    assert problems(RAW, Found(8, 3, {"cleanup.policy": "delete"}), BOOTSTRAP) == []
