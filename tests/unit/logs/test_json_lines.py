"""The log as JSON: one object a line, with the place in Kafka that a line speaks of."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from streams.counters import Statistics
from streams.logs.flow import FlowLog
from streams.logs.json_lines import JsonLines
from streams.logs.plain import PlainRecord
from streams.logs.rate_limit import SayOnce

Log = tuple[logging.Logger, StringIO]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A logger whose lines are JSON."""
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(PlainRecord)
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [*root.handlers, handler])
    monkeypatch.setattr(root, "level", logging.INFO)
    yield logging.getLogger("tests.json"), stream
    logging.setLogRecordFactory(factory)


def lines(log: Log) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log[1].getvalue().splitlines()]


def test_a_line_is_an_object_with_time_level_logger_and_message(log: Log) -> None:
    log[0].warning("waiting for %s", "redis")
    (line,) = lines(log)
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "tests.json", "waiting for redis")
    assert line["time"].endswith("Z")
    assert set(line) == {"time", "level", "logger", "message"}


@pytest.mark.parametrize(
    ("template", "args", "place"),
    [
        ("%s[%d] at offset %d: %s", ("metrics.raw", 3, 1841, "why"), ("metrics.raw", 3, 1841)),
        ("a bug holds up %s[%d] at offset %d", ("metrics.raw", 0, 0), ("metrics.raw", 0, 0)),
        ("%s[%d] starts at offset %d", ("metrics.unique", 7, 5), ("metrics.unique", 7, 5)),
        ("%d of %s[%d] are late, 5%% of all", (2, "metrics.raw", 1), ("metrics.raw", 1, None)),
        ("the fence of partition %d is %s", (4, "gone"), (None, 4, None)),
        ("%s[%d] offset %d goes to %s", ("a.raw", 1, 2, "a.rejected"), ("a.raw", 1, 2)),
        ("waits %.1f s for %s", (1.5, "kafka"), (None, None, None)),
        ("offset %s is none", ("rubbish",), (None, None, None)),
        ("nothing is filled in: %s[%d]", (), (None, None, None)),
    ],
)
def test_the_place_that_a_line_names_stands_in_fields(
    log: Log, template: str, args: tuple[object, ...], place: tuple[object, ...]
) -> None:
    log[0].info(template, *args)
    (line,) = lines(log)
    assert tuple(line.get(field) for field in ("topic", "partition", "offset")) == place


def test_an_exception_is_part_of_its_line_and_forges_no_other(log: Log) -> None:
    try:
        raise ValueError("first\nsecond\x1b[31m")  # noqa: TRY301 - what is tested
    except ValueError:
        log[0].exception("a bug holds up %s[%d] at offset %d", "metrics.raw", 3, 5)
    (line,) = lines(log)
    assert "ValueError" in line["exc_info"]
    assert "\x1b" not in log[1].getvalue()


def test_a_line_of_aiokafka_is_an_object_too_and_said_once(log: Log) -> None:
    once = SayOnce()
    log[0].addFilter(once)
    try:
        for _ in range(3):
            log[0].error("Unable connect to node with id %s: %s", 1, OSError("refused"))
    finally:
        log[0].removeFilter(once)
    (line,) = lines(log)
    assert (line["level"], line["message"]) == ("INFO", "Unable connect to node with id 1: refused")


def test_what_flowed_stands_in_fields(log: Log) -> None:
    statistics = Statistics()
    flow = FlowLog(statistics, lambda: {"metrics.raw": 3}, 0.0)
    statistics.messages.update({"received": 40, "refined": 30, "pushed": 20, "jobs": 2, "duplicate": 5})
    statistics.rejected.update({"tenant_unknown": 4})
    flow.tell(60.0, ["redis"])
    (line,) = lines(log)
    assert line["seconds"] == 60.0
    assert line["messages"] == {"received": 40, "refined": 30, "pushed": 20, "jobs": 2, "duplicate": 5}
    assert line["rejected"] == {"tenant_unknown": 4}
    assert line["lag_records"] == {"metrics.raw": 3}
    assert line["waiting_for"] == ["redis"]
