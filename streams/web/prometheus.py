"""Metrics for Prometheus: made of what is counted anyway at the moment at which they are asked for.

So counting costs nothing beside the counters that the pages show, and no registry of the process is needed.
Labels are those whose values the program itself decides on, never a tenant or a device: the number of series
does not grow with what devices send.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams.timings import Histogram

PREFIX = "metric_streams"

Samples = Mapping[Any, float]
"""By the value of the one label, or a tuple of those of all."""


def gauge(name: str, help_: str, samples: float | Samples, *labels: str) -> Metric:
    """Return a metric that goes up and down.

    Args:
        name: without the prefix, with its unit at the end.
        help_: one line.
        samples: its value, or one for each value of the labels.
        labels: their names.
    """
    return _filled(GaugeMetricFamily(f"{PREFIX}_{name}", help_, labels=labels), samples)


def counter(name: str, help_: str, samples: float | Samples, *labels: str) -> Metric:
    """Return a metric that only rises; ``_total`` comes to its name."""
    return _filled(CounterMetricFamily(f"{PREFIX}_{name}", help_, labels=labels), samples)


def histograms(name: str, help_: str, label: str, found: Mapping[str, Histogram]) -> Metric:
    """Return histograms that are told apart by a label."""
    family = HistogramMetricFamily(f"{PREFIX}_{name}", help_, labels=[label])
    for value, histogram in found.items():
        bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
        family.add_metric(
            [value],
            buckets=list(zip(bounds, accumulate(histogram.counts()), strict=True)),
            sum_value=histogram.total,
        )
    return family


def page(families: Iterable[Metric], accept: str = "") -> tuple[bytes, dict[str, str]]:
    """Return the page and its headers.

    Args:
        families: what it shows; those without a sample are left out.
        accept: the header of the request: Prometheus may ask for OpenMetrics.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given([family for family in families if family.samples]))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    # As a header, since aiohttp takes no parameters within content_type.
    return encode(registry), {"Content-Type": content_type}


class _Given(Collector):
    """Hands out families that are there."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._families


def _filled(
    family: "GaugeMetricFamily | CounterMetricFamily", samples: float | Samples
) -> "GaugeMetricFamily | CounterMetricFamily":
    by_labels = samples if isinstance(samples, Mapping) else {(): samples}
    for values, sample in by_labels.items():
        family.add_metric([values] if isinstance(values, str) else values, sample)
    return family
