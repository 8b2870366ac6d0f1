"""`top` adds up what the pages of all processes say, and shows what lies between two looks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from streams.timings import LATENCY_BOUNDS_S, Histogram
from streams.top.sample import Sample, any_of, quantile
from streams.top.stages import StageFigures, flow_of, table

WORKER = """
metric_streams_build_info{{program="worker",version="1"}} 1.0
metric_streams_start_timestamp_seconds {started}
metric_streams_part_up{{part="redis"}} {redis}
metric_streams_messages_total{{outcome="received",stage="ingress"}} {count}
metric_streams_messages_total{{outcome="acknowledged",stage="ingress"}} {count}
metric_streams_messages_total{{outcome="accepted",stage="refine"}} {count}
metric_streams_messages_total{{outcome="pushed",stage="handoff"}} {count}
metric_streams_rejected_messages_total{{reason="value_missing"}} 3.0
metric_streams_rejected_messages_total{{reason="topic_malformed"}} 0.0
metric_streams_latency_seconds_bucket{{le="0.1",stage="handoff"}} {count}
metric_streams_latency_seconds_bucket{{le="+Inf",stage="handoff"}} {count}
metric_streams_lag_records{{partition="0",topic="metrics.raw"}} 2.0
metric_streams_lag_records{{partition="1",topic="metrics.raw"}} 3.0
metric_streams_lag_seconds{{partition="1",topic="metrics.raw"}} 1.5
metric_streams_queue_jobs{{state="due"}} 4.0
metric_streams_queue_jobs{{state="waiting"}} 9.0
process_cpu_seconds_total {cpu}
"""
INGEST = """
metric_streams_build_info{program="ingest",version="1"} 1.0
metric_streams_start_timestamp_seconds 5
metric_streams_ingest_rows_total 40.0
metric_streams_queue_jobs{state="due"} 4.0
process_cpu_seconds_total 9.0
"""


def sample(at_s: float, *pages: str) -> Sample:
    made = Sample(at_s)
    for page in pages:
        made.add(page)
    return made


def worker(count: int, *, cpu: float = 1.0, started: float = 1, redis: int = 1) -> str:
    return WORKER.format(count=count, cpu=cpu, started=started, redis=redis)


def test_what_flows_is_the_difference_of_two_looks_at_all_processes() -> None:
    before = sample(10, worker(100), worker(50, started=2), INGEST)
    now = sample(12, worker(300, cpu=1.3), worker(50, started=2), INGEST)
    flow = flow_of(before, now)
    assert (flow.workers, flow.cpu_us, flow.lag_s, flow.down) == (2, pytest.approx(1_500), 1.5, [])
    assert [stage.stage for stage in flow.stages] == ["ingress", "refine", "handoff", "ingest"]
    assert [stage.in_per_s for stage in flow.stages] == [100, 100, 100, 0]
    assert [stage.lag for stage in flow.stages] == [None, 10, 0, 4]
    assert flow.stages[2] == StageFigures("handoff", 100, 100, 50.0, 95.0, 0, 350)
    assert flow.rejected == {"value_missing": 6}


def test_without_ingest_there_is_no_row_of_it_and_without_messages_no_time() -> None:
    flow = flow_of(sample(0, worker(7)), sample(1, worker(7)))
    assert [stage.stage for stage in flow.stages] == ["ingress", "refine", "handoff"]
    assert flow.cpu_us is None
    assert flow.stages[2].median_ms is None


def test_a_part_that_a_process_is_without_is_shown() -> None:
    flow = flow_of(sample(0, worker(0)), sample(1, worker(0), worker(0, started=2, redis=0)))
    assert flow.down == ["redis"]


def test_looks_before_a_restart_are_not_compared_with() -> None:
    samples = [sample(0, worker(900)), sample(1, worker(1, started=9)), sample(2, worker(2, started=9))]
    assert any_of(samples) is samples[1]
    assert any_of(samples[:2]) is None
    assert any_of(samples[:1]) is None


def test_the_table_fits_80_columns() -> None:
    flow = flow_of(sample(0, worker(0), INGEST), sample(0.001, worker(10**9, redis=0), INGEST))
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table(flow))
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "without redis" in lines[0]
    assert len(lines) < 24


@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_that_of_the_worker_itself(values: list[float], share: float) -> None:
    histogram = Histogram(LATENCY_BOUNDS_S)
    for value in values:
        histogram.observe(value)
    below, total = {}, 0
    for bound, count in zip((*LATENCY_BOUNDS_S, math.inf), histogram.counts(), strict=True):
        total += count
        below[bound] = float(total)
    assert quantile(share, below, {}) == pytest.approx(histogram.quantile(share))
