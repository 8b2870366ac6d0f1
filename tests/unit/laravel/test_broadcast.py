import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.laravel.broadcast import PublishedMetric, decode, encode
from streams.laravel.job import JobMetric
from tests.golden import golden

METRICS = [
    JobMetric("edge-7", "cpu.usage.percent", 42.17, "2026-11-23 14:00:00.123456", "d-1"),
    JobMetric("edge/8", "temp.°C", 1.0, None, None),
    JobMetric("edge-9", "leak", 1e-7, "2026-11-23 14:00:00", None),
]
numbers = st.integers(-(10**12), 10**12) | st.floats(-1e12, 1e12)


def test_a_publication_is_what_browsers_get() -> None:
    assert encode(METRICS) == golden("publication.json")


@given(st.lists(st.builds(JobMetric, st.text(), st.text(), numbers, st.none() | st.text(), st.none())))
def test_metrics_come_back_as_they_went(metrics: list[JobMetric]) -> None:
    assert decode(encode(metrics)) == [
        PublishedMetric(metric.agent_id, metric.metric_name, metric.value, metric.timestamp)
        for metric in metrics
    ]


@pytest.mark.parametrize("message", [b"", b"{}", b"[1]", b"[{}]", b"\xff"])
def test_anything_else_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedRecord, match="not a publication"):
        decode(message)
