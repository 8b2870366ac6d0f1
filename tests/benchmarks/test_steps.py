"""Benchmarks that need no server run to their end, and chunks of a backlog are as they were asked for."""

import json
from pathlib import Path

import pytest

from benchmarks import backlog, bookkeeping, steps, versions
from benchmarks.material import Mix, tenants
from streams.settings import Settings
from streams.wire import raw


def test_every_step_has_its_figure_for_every_size_of_chunk(capsys: pytest.CaptureFixture[str]) -> None:
    steps.main(["--messages", "20", "--turns", "1"])
    figures = json.loads(capsys.readouterr().out)
    for size in steps.CHUNKS:
        assert {"encode_raw", "examine", "jobs", "agent_refine", "agent_handoff"} <= set(
            figures[f"chunks_of_{size}"]
        )


def test_what_bookkeeping_costs_is_told_with_and_without_in_one_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bookkeeping.main(["--messages", "20", "--turns", "1"])
    figures = json.loads(capsys.readouterr().out)
    for size in bookkeeping.BATCHES:
        figure = figures[f"reads_of_{size}"]
        assert set(figure) == {"on", "off", "more_percent", "more_percent_median"}
        assert figure["on"] > 0
    assert figures["page"]["cpu_ms"] > 0
    assert figures["noted_us_a_chunk"] > 0


def test_a_backlog_has_its_messages_in_chunks_of_the_size_that_was_asked_for() -> None:
    settings = Settings.from_mapping({"CHUNK_MAX_MESSAGES": "7", "TOPIC_PARTITIONS": "2"})
    chunks = list(backlog._chunks(settings, Mix(tenants(4)), 100))
    sizes = [len(raw.decode(chunk.value())) for chunk in chunks]
    assert sum(sizes) == 100
    assert max(sizes) == 7
    assert sorted(sizes)[2:] == [7] * (len(sizes) - 2)  # but for the last one of each partition


def test_versions_of_servers_that_are_not_installed_are_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KAFKA_LIBS", str(tmp_path))
    found = versions.versions()
    servers = ("mosquitto", "redis-server", "postgresql", "kafka")
    assert {name: found[name] for name in servers} == dict.fromkeys(servers)
    assert found["aiokafka"]
