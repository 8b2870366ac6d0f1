"""Prometheus' format, as Prometheus' own parser reads it."""

import ast
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from streams.book import Book
from streams.counters import Note, Statistics
from streams.timings import Histogram
from streams.web.prometheus import counter, gauge, histograms, page
from streams.web.worker_metrics import MESSAGES, book_metrics, message_metrics

STREAMS = Path(__file__).parents[3]


def read(families: object) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, _ = page(families)  # type: ignore[arg-type] # any iterable will do
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_a_label_and_a_total_are_written_as_prometheus_reads_them() -> None:
    found = read([counter("rows", "rows written", 12), gauge("part_up", "told", {"redis": 1}, "part")])
    assert found["metric_streams_rows_total", frozenset()] == 12
    assert found["metric_streams_part_up", frozenset({("part", "redis")})] == 1


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count() -> None:
    histogram = Histogram((0.1, 1.0))
    for value, times in ((0.05, 3), (0.5, 2), (7.0, 1)):
        histogram.observe(value, times)
    found = read([histograms("latency_seconds", "told", "stage", {"refine": histogram})])
    stage = ("stage", "refine")
    buckets = {
        dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("_bucket")
    }
    assert buckets == {"0.1": 3, "1.0": 5, "+Inf": 6}
    assert found["metric_streams_latency_seconds_count", frozenset({stage})] == 6
    assert found["metric_streams_latency_seconds_sum", frozenset({stage})] == 0.05 * 3 + 0.5 * 2 + 7.0


def test_a_family_without_a_sample_is_left_out() -> None:
    body, _ = page([gauge("part_up", "told", {}, "part")])
    assert b"part_up" not in body


def test_it_speaks_openmetrics_to_whoever_asks_for_it() -> None:
    body, headers = page([counter("rows", "rows written", 1)], "application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert "metric_streams_rows" in {family.name for family in open_metrics(body.decode())}
    assert page([])[1]["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_all_that_is_counted_is_shown_from_the_start() -> None:
    found = read(message_metrics(Statistics()))
    ours = {name: value for name, value in found.items() if name[0].startswith("metric_streams_")}
    assert ours
    assert set(ours.values()) == {0}
    outcomes = {
        (dict(labels)["stage"], dict(labels)["outcome"])
        for name, labels in found
        if name == "metric_streams_messages_total"
    }
    assert outcomes == set(MESSAGES)


def test_every_note_is_taken_somewhere_and_by_its_name() -> None:
    taken = {
        ast.unparse(node.slice)
        for package in ("agents", "tables", "streams")
        for path in (STREAMS / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript)
        and ast.unparse(node.value).endswith(".notes")
        and ast.unparse(node.slice) != "note"  # the page's own loop over all of them
    }
    assert taken == {f"Note.{note.name}" for note in Note}


def test_the_book_shows_what_is_not_accounted_for() -> None:
    book = Book()
    page_ = book.page("metrics.raw", 3)
    page_.came_in, page_.accepted, page_.duplicates = 10, 6, 3
    found = read(book_metrics(book))
    labels = frozenset({("topic", "metrics.raw"), ("partition", "3")})
    assert found["metric_streams_book_unaccounted_messages", labels] == 1
    assert found["metric_streams_book_messages_total", labels | {("outcome", "accepted")}] == 6
