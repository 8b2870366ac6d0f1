r"""The log as JSON, one object a line, for whoever collects and searches logs: LOG_FORMAT=json.

    {"time": "2026-11-23T14:00:00.123456Z", "level": "WARNING", "logger": "streams.kafka.record_loop",
    "message": "metrics.raw[3] at offset 1841: another record was decided on here",
    "topic": "metrics.raw", "partition": 3, "offset": 1841}

Every logger of the process writes so, those of Faust and aiokafka as well. A line that names a place in Kafka
does so in words that are the same everywhere, ``%s[%d]`` and ``offset %d``: from these come the fields by
which the lines about one record are found. What is counted stands in fields of its own, which the line is
given as ``extra``.
"""

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

_PLACEHOLDER = re.compile(r"(?P<name>\b\w+ )?(?P<open>\[)?%(?:\.?\d*)(?P<kind>[a-zA-Z%])")
_NUMBERED = {"offset ": "offset", "partition ": "partition"}


class JsonLines(JsonFormatter):
    """Makes an object of each line."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Put together what the object holds: what each line has first."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        log_data["time"] = at.replace("+00:00", "Z")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()
        log_data.update(_place(record))
        super().add_fields(log_data, record, message_dict)


def _place(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Yield the fields that say of which record in Kafka a line speaks."""
    if not isinstance(record.args, tuple) or not isinstance(record.msg, str):
        return
    args, topic = iter(record.args), None
    for found in _PLACEHOLDER.finditer(record.msg):
        if found["kind"] == "%":
            continue
        value = next(args, None)
        if found["open"] and isinstance(value, int) and isinstance(topic, str):
            yield from (("topic", topic), ("partition", value))
        elif found["name"] in _NUMBERED and isinstance(value, int):
            yield _NUMBERED[found["name"]], value
        topic = value


def write_json() -> None:
    """Let every handler of the process write JSON; to be called once they are set up."""
    for handler in logging.getLogger().handlers:
        # Of the root alone: the other loggers hand their lines on to it.
        handler.setFormatter(JsonLines())
