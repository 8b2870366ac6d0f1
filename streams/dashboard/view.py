"""This worker, as the sampler sees it: between the Faust app and the dashboard."""

from collections import Counter
from typing import Any

from streams.dashboard.sampler import Seen
from streams.kafka.app import StreamsApp
from streams.web.health import lags


class WorkerView:
    """Asks the app, which may not have begun to consume yet."""

    def __init__(self, app: StreamsApp) -> None:
        self._app = app

    def seen(self) -> Seen:
        """Return what there is to know now."""
        app = self._app
        held = app.held() if app.has_consumer else ()
        return Seen(
            app.leadership.leads,
            app.rebalancing_count,
            Counter(tp.topic for tp in held),
            app.lag_by_topic(),
        )

    def partitions(self) -> list[dict[str, Any]]:
        """Return where each partition stands that this worker holds."""
        if not self._app.has_consumer:
            return []
        return [
            {"topic": tp.topic, "partition": tp.partition, "position": lag.position, "lag": lag.records}
            for tp, lag in sorted(lags(self._app).items())
        ]
