"""What the worker's ``/metrics`` shows."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from faust.types import TP
from prometheus_client.metrics_core import Metric

from streams.book import Book
from streams.counters import Count, Note, Statistics
from streams.faust_app import StreamsApp
from streams.laravel.fence import Fence
from streams.laravel.queue_gauge import QueueState
from streams.models import Reason
from streams.web.common_metrics import part_metrics, process_metrics, queue_metrics
from streams.web.health import readiness
from streams.web.lags import Lag, lag_seconds, lags
from streams.web.prometheus import counter, gauge, histograms
from streams.web.shared import PartHealth

MESSAGES = {
    ("ingress", "received"): Count.RECEIVED,
    ("ingress", "written"): Count.WRITTEN,
    ("ingress", "acknowledged"): Count.ACKNOWLEDGED,
    ("refine", "accepted"): Count.ACCEPTED,
    ("refine", "duplicate"): Count.DUPLICATE,
    ("refine", "rejected"): Count.REJECTED,
    ("handoff", "pushed"): Count.PUSHED,
}
"""By stage and outcome, what counts them in the statistics."""
GAUGES = {
    "mqtt_in_flight_messages": "messages from the broker that it waits for us to acknowledge",
    "quota_held_messages": "messages beyond a quota that are to be put back, as this worker has counted last",
    "dedupe_ids": "ids that this worker remembers, to tell duplicates",
}
"""What the agents tell through `StreamsApp.gauges`."""


class AskedFigures(NamedTuple):
    """What had to be asked for the page."""

    parts: Mapping[str, PartHealth]
    lags: Mapping[TP, Lag]
    lag_s: Mapping[TP, float]
    queue: QueueState | None
    fences: Mapping[int, Fence]


async def look(app: StreamsApp) -> AskedFigures:
    """Ask for it; each question has a limit of its own, so that the page comes within Prometheus' 10 s."""
    parts, found = await readiness(app), lags(app)
    queue = None if app.queue_gauge is None else await app.queue_gauge.look()
    fences = {} if app.fences is None else app.fences.believed()
    return AskedFigures(parts, found, await lag_seconds(found, app.log_reader), queue, fences)


def worker_metrics(app: StreamsApp, seen: AskedFigures) -> Iterator[Metric]:
    """Yield all that the page shows."""
    yield from process_metrics("worker", app.statistics)
    yield from part_metrics(seen.parts)
    yield from message_metrics(app.statistics)
    yield from _group_metrics(app)
    yield from _position_metrics(seen)
    yield from book_metrics(app.statistics.book)
    for name, help_ in GAUGES.items():
        if name in app.gauges:
            yield gauge(name, help_, app.gauges[name]())
    yield from _limits(app)
    yield from queue_metrics(seen.queue)


def message_metrics(statistics: Statistics) -> Iterator[Metric]:
    """Yield what the statistics count."""
    counts = {labels: statistics.messages[name] for labels, name in MESSAGES.items()}
    yield counter("messages", "messages by stage and what became of them", counts, "stage", "outcome")
    reasons = {str(reason): statistics.rejected[reason] for reason in Reason}
    yield counter("rejected_messages", "messages that were rejected, by reason", reasons, "reason")
    yield counter("jobs_pushed", "jobs pushed onto the queue", statistics.messages[Count.JOBS])
    # Each is shown from the start, so that its first rise shows.
    notes = {str(note): statistics.notes[note] for note in Note}
    yield counter("notes", "rare things worth a number; docs/operations.md explains each", notes, "reason")
    timings = statistics.timings
    latency = "from a message's arrival from the broker until the stage was through with it"
    yield histograms("latency_seconds", latency, "stage", timings.latency_s)
    yield histograms("chunk_messages", "messages of a chunk", "stage", timings.chunk_messages)
    last = {"received": timings.received_at, "acknowledged": timings.acknowledged_at}
    told = "Unix time at which a message came from the broker last, and one was acknowledged; 0 for never"
    yield gauge("mqtt_last_timestamp_seconds", told, last, "outcome")


def book_metrics(book: Book) -> Iterator[Metric]:
    """Yield the book: what came into each partition, and what became of it."""
    counts: dict[tuple[str, str, str], float] = {}
    unaccounted: dict[tuple[str, str], float] = {}
    for topic, partitions in book.shown().items():
        for partition, page in partitions.items():
            outcomes = {name: count for name, count in page.items() if name != "balanced"}
            came_in = outcomes["came_in"]
            counts |= {(topic, partition, name): count for name, count in outcomes.items()}
            unaccounted[topic, partition] = 2 * came_in - sum(outcomes.values())
    labels = ("topic", "partition")
    yield counter(
        "book_messages", "what came into each partition, and what became of it", counts, *labels, "outcome"
    )
    told = "messages that came in and are not accounted for: anything but 0 is a bug"
    yield gauge("book_unaccounted_messages", told, unaccounted, *labels)


def _group_metrics(app: StreamsApp) -> Iterator[Metric]:
    yield gauge("leader", "1 if this worker is the one that carries MQTT", int(app.carries_mqtt))
    yield counter("rebalances", "times that the group was balanced anew", app.rebalancing_count)


def _position_metrics(seen: AskedFigures) -> Iterator[Metric]:
    known = {_labels(tp): lag for tp, lag in sorted(seen.lags.items()) if lag.position is not None}
    labels = ("topic", "partition")
    told = "partitions that this worker holds, and 0 for those whose position it does not know yet"
    held = {_labels(tp): int(lag.position is not None) for tp, lag in sorted(seen.lags.items())}
    yield gauge("partition_placed", told, held, *labels)
    records = {name: lag.records for name, lag in known.items()}
    yield gauge("lag_records", "records of the topic that were not handled yet", records, *labels)
    ages = {_labels(tp): age for tp, age in sorted(seen.lag_s.items())}
    yield gauge(
        "lag_seconds", "age of the oldest record that was not handled yet; 0 if all are", ages, *labels
    )
    offsets = {name: lag.position or 0 for name, lag in known.items()}
    yield gauge("position_offset", "offset of the record that is handled next", offsets, *labels)
    fences = sorted(seen.fences.items())
    epochs = {str(number): fence.epoch for number, fence in fences}
    yield gauge("fence_epoch", "epoch of the fence in Redis, as this worker left it", epochs, "partition")
    told = "offset among the readings of the chunk whose jobs were pushed last, by the fence in Redis"
    marks = {str(number): fence.unique_offset for number, fence in fences}
    yield gauge("fence_offset", told, marks, "partition")


def _limits(app: StreamsApp) -> Iterator[Metric]:
    settings = app.settings
    most = settings.mqtt_receive_maximum
    yield gauge("mqtt_in_flight_limit_messages", "MQTT_RECEIVE_MAXIMUM", most)
    yield gauge("dedupe_limit_ids", "DEDUPE_MAX_IDS", settings.dedupe_max_ids)
    yield gauge("dedupe_window_seconds", "DEDUPE_WINDOW_S", settings.dedupe_window_s)
    yield gauge("queue_limit_jobs", "HANDOFF_MAX_QUEUED_JOBS", settings.handoff_max_queued_jobs)


def _labels(tp: TP) -> tuple[str, str]:
    return tp.topic, str(tp.partition)
