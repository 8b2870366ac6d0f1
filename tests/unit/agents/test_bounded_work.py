"""What one message costs the event loop does not grow with its size, told by counting lines of Python.

How long the library functions take that are called on the way, ``./dev bench worst`` measures.
"""

import sys
from types import FrameType
from typing import Any

import pytest

from agents.examine import examine
from streams.models import Message, Origin
from streams.wire import raw

TOPIC = "metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu"
SIZE = raw.MAX_BYTES
MOST_LINES = 6_000
"""Some 0.6 ms; of 64 KiB of ``[`` the reader by tokens made 1.5 million."""

HOSTILE = {
    "arrays": "[" * SIZE,
    "objects": '{"a":' * (SIZE // 5),
    "empty arrays": '{"x": [' + "[]," * 21_000 + "1]",
    "towers": '{"x": [' + ("[" * 500 + "]" * 500 + ",") * 60 + "1",
    "strings": '{"value": 1e999, "x": [' + '"",' * 21_000 + '""]}',
    "numbers": '{"value": 1e999, "x": [' + "1," * 30_000 + "1]}",
    "members": '{"value": 1e999' + ',"":0' * 12_000 + "}",
    "halves of pairs": '{"value": "' + r"\ud800" * 10_000 + '"}',
    "backslashes": r'{"x": "\ud800", "value": "' + "\\\\" * 30_000 + '"}',
    "a late mistake": '{"x": "' + "é" * 32_000 + '",}',
    "white space": " " * SIZE,
    "many digits": '{"value": ' + "9" * 65_000 + "}",
    "a long fraction": '{"value": 1, "timestamp": "2026-11-20T10:00:00.' + "1" * 60_000 + 'Z"}',
    "a long exponent": '{"value": 1, "timestamp": "1795442400' + "0" * 60_000 + 'e-60000"}',
    "a long blank": '{"value": 1, "timestamp": "' + " " * 60_000 + 'x"}',
    "a long dedupe id": '{"value": 1, "dedupe_id": "' + "d" * 65_000 + '"}',
}


def lines_of(message: Message) -> int:
    """Return how many lines of Python the message costs."""
    lines = 0

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        examine([message], Origin(0, 0), 86_400.0)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_payload_costs_a_bounded_number_of_steps(kind: str) -> None:
    assert lines_of(Message(TOPIC, HOSTILE[kind][:SIZE], None, "2026-11-23T14:00:00.123456Z")) <= MOST_LINES


@pytest.mark.parametrize(
    "topic", ["/" * 65_000, "metrics/" + "a" * 60_000 + "/b/c", "metrics/a/b/" + "\x01" * 60_000]
)
def test_a_hostile_topic_costs_a_bounded_number_of_steps(topic: str) -> None:
    assert lines_of(Message(topic, '{"value": 1}', None, "2026-11-23T14:00:00.123456Z")) <= MOST_LINES
