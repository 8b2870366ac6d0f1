"""This worker, as the sampler sees it: between the Faust app and the dashboard."""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from streams.dashboard.sampler import OwnFigures
from streams.faust_app import StreamsApp
from streams.timings import HANDOFF
from streams.web.lags import lags

LATENCY_OF_S = 10
"""The latest seconds, whose messages make up a percentile."""
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class WorkerView:
    """Asks the app, which may not have begun to consume yet.

    Args:
        app: the worker.
        wall: Unix time in seconds.
    """

    def __init__(self, app: StreamsApp, wall: Callable[[], float] = time.time) -> None:
        self._app = app
        self._wall = wall
        self._latencies: deque[tuple[int, ...]] = deque(maxlen=LATENCY_OF_S)

    def seen(self) -> OwnFigures:
        """Return what there is to know now."""
        app = self._app
        found = lags(app) if app.has_consumer else {}
        oldest = [lag.oldest_at for lag in found.values() if lag.records and lag.oldest_at is not None]
        return OwnFigures(
            app.carries_mqtt,
            app.rebalancing_count,
            Counter(tp.topic for tp in found),
            app.lag_by_topic(),
            max(0.0, self._wall() - min(oldest)) if oldest else 0.0,
            self._percentiles(),
        )

    def _percentiles(self) -> dict[str, float]:
        """Return how long the messages of the last seconds took to the job."""
        latency = self._app.statistics.timings.latency_s[HANDOFF]
        # The difference of two looks, so that the percentile is one of the last seconds and not of all time.
        since = self._latencies[0] if self._latencies else ()
        found = {name: latency.quantile(share, since) for name, share in PERCENTILES.items()}
        self._latencies.append(latency.counts())
        return {name: seconds for name, seconds in found.items() if seconds is not None}

    def partitions(self) -> list[dict[str, Any]]:
        """Return the position of each partition that this worker holds."""
        if not self._app.has_consumer:
            return []
        return [
            {"topic": tp.topic, "partition": tp.partition, "position": lag.position, "lag": lag.records}
            for tp, lag in sorted(lags(self._app).items())
        ]
