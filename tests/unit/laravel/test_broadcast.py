import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.laravel.broadcast import PublishedMetric, decode, encode
from streams.laravel.job import JobMetric
from tests.golden import golden

METRICS = [
    JobMetric(
        agent_id="edge-7",
        metric_name="cpu.usage.percent",
        value=42.17,
        timestamp="2026-11-23 14:00:00.123456",
        dedupe_id="d-1",
    ),
    JobMetric(agent_id="edge/8", metric_name="temp.°C", value=1.0, timestamp=None, dedupe_id=None),
    JobMetric(
        agent_id="edge-9", metric_name="leak", value=1e-7, timestamp="2026-11-23 14:00:00", dedupe_id=None
    ),
]
numbers = st.integers(-(10**12), 10**12) | st.floats(-1e12, 1e12)


def test_a_publication_is_what_browsers_get() -> None:
    assert encode(METRICS) == golden("publication.json")


@given(
    st.lists(
        st.builds(
            JobMetric,
            agent_id=st.text(),
            metric_name=st.text(),
            value=numbers,
            timestamp=st.none() | st.text(),
            dedupe_id=st.none(),
        )
    )
)
def test_metrics_come_back_as_they_went(metrics: list[JobMetric]) -> None:
    assert decode(encode(metrics)) == [
        PublishedMetric(metric.agent_id, metric.metric_name, metric.value, metric.timestamp)
        for metric in metrics
    ]


@pytest.mark.parametrize("message", [b"", b"{}", b"[1]", b"[{}]", b"\xff"])
def test_anything_else_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedRecord, match="not a publication"):
        decode(message)
