"""What benchmarks make of what they have measured."""

import math
import os
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import BENCHMARKS
from benchmarks.jobs import Taken
from benchmarks.latency import passages_of, steady, timestamps
from benchmarks.report import percentile, spread_ms
from benchmarks.usage import Usage, cpu_s, family, memory_mb
from benchmarks.versions import first_version
from streams.laravel.job import JobMetric, encode_job

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
AT = "2026-11-24 12:00:00.250000"
AT_S = 1_795_521_600.25


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[float], share: float
) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    wanted = math.ceil(round(len(ordered) * share, 6))
    assert sum(value <= found for value in ordered) >= wanted
    assert sum(value < found for value in ordered) < wanted


def test_a_spread_is_told_in_milliseconds() -> None:
    assert spread_ms([n / 1_000 for n in range(1, 101)]) == {"p50": 50.0, "p99": 99.0, "max": 100.0}


def test_the_times_of_publication_are_found_in_our_jobs_and_in_the_tutorials() -> None:
    metrics = [
        JobMetric(agent_id="edge-1", metric_name="cpu", value=1.5, timestamp=AT, dedupe_id=f"id-{n}")
        for n in range(3)
    ]
    assert timestamps(encode_job(TENANT, metrics, "uuid", "id")) == [AT_S] * 3
    assert timestamps(b'{"data": {"timestamp": "2026-11-24T12:00:00.250000Z"}}') == [AT_S]


def test_each_message_of_a_job_has_arrived_when_the_job_has() -> None:
    job = encode_job(
        TENANT,
        [JobMetric(agent_id="edge-1", metric_name="cpu", value=1.5, timestamp=AT, dedupe_id="id")] * 2,
        "uuid",
        "id",
    )
    assert list(passages_of(Taken(AT_S + 1, [job, job]))) == [(AT_S, AT_S + 1)] * 4


def test_the_first_tenth_of_the_time_is_left_out() -> None:
    passages = [(float(second), second + (5.0 if second < 10 else 1.0)) for second in range(101)]
    assert steady(passages) == [1.0] * 91


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("mosquitto version 2.0.11\n\nmosquitto is an MQTT broker", "2.0.11"),
        ("Redis server v=7.0.15 sha=00000000:0", "7.0.15"),
        ("psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
        ("", "unknown"),
    ],
)
def test_a_program_names_its_version(text: str, version: str) -> None:
    assert first_version(text) == version


def test_usage_is_that_of_the_process() -> None:
    with Usage([os.getpid()], {"beside": os.getpid()}) as usage:
        while cpu_s([os.getpid()]) < usage._began["ours"] + 0.05:
            pass
    figures = usage.figures(1_000)
    assert 50 <= float(str(figures["cpu_us_a_message"])) < 5_000
    assert usage.samples[0] <= memory_mb(os.getpid(), "VmHWM")
    assert family(os.getpid())[0] == os.getpid()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_can_be_called_by_its_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"benchmarks.{name}").main(["--help"])
    assert ended.value.code == 0
    assert f"./dev bench {name}" in capsys.readouterr().out
