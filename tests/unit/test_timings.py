"""How long messages take to each stage: noted once for a chunk, weighted by its messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.timings import INGRESS, LATENCY_BOUNDS_S, STAGES, Histogram, Timings

values = st.floats(0, 10_000, allow_nan=False)


@given(st.lists(st.tuples(values, st.integers(1, 500)), max_size=50))
def test_each_value_is_counted_below_the_first_bound_that_it_does_not_exceed(
    seen: list[tuple[float, int]],
) -> None:
    histogram = Histogram(LATENCY_BOUNDS_S)
    for value, times in seen:
        histogram.observe(value, times)
    counts = histogram.counts()
    for bound, below in zip(LATENCY_BOUNDS_S, _running(counts), strict=False):
        assert below == sum(times for value, times in seen if value <= bound)
    assert histogram.count == sum(counts) == sum(times for _, times in seen)
    assert histogram.total == pytest.approx(sum(value * times for value, times in seen))


def _running(counts: tuple[int, ...]) -> list[int]:
    return [sum(counts[: index + 1]) for index in range(len(counts))]


@given(st.lists(st.floats(0, 2.0), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_value_that_it_stands_for(
    seen: list[float], share: float
) -> None:
    histogram = Histogram((0.5, 1.0, 2.0))
    for value in seen:
        histogram.observe(value)
    quantile = histogram.quantile(share)
    assert quantile is not None
    exact = sorted(seen)[max(0, -(-round(share * len(seen) * 1e6) // 10**6) - 1)]
    bucket = next(bound for bound in histogram.bounds if exact <= bound)
    assert quantile <= bucket + 1e-9


def test_a_quantile_is_that_of_what_came_since() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(0.5, times=1_000)
    before = histogram.counts()
    assert histogram.quantile(0.5, before) is None
    histogram.observe(1.5, times=4)
    assert histogram.quantile(0.5, before) == 1.5
    assert histogram.quantile(1.0, before) == 2.0


def test_what_lies_beyond_the_last_bound_is_told_as_that() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(99.0)
    assert histogram.quantile(0.5) == 2.0


@pytest.mark.parametrize("stage", STAGES)
def test_a_chunk_counts_its_latency_for_each_of_its_messages(stage: str) -> None:
    timings = Timings()
    timings.passed(stage, 40, 1_000.0, 1_000.5)
    assert (timings.latency_s[stage].count, timings.latency_s[stage].total) == (40, 20.0)
    assert (timings.chunk_messages[stage].count, timings.chunk_messages[stage].total) == (1, 40)


def test_a_clock_that_is_behind_makes_no_negative_latency_and_an_untold_arrival_none() -> None:
    timings = Timings()
    timings.passed(INGRESS, 2, 1_000.0, 999.0)
    for untold in (None, "", "rubbish", "2026-13-01T00:00:00Z"):
        timings.passed(INGRESS, 3, untold, 999.0)
    assert (timings.latency_s[INGRESS].count, timings.latency_s[INGRESS].total) == (2, 0.0)
    assert timings.chunk_messages[INGRESS].count == 5


def test_an_arrival_is_read_as_records_have_it() -> None:
    timings = Timings()
    timings.passed(INGRESS, 1, "2026-11-23T14:00:00.250000Z", 1_795_442_401.0)
    assert timings.latency_s[INGRESS].total == 0.75
