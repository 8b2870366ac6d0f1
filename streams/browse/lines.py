"""Messages as lines for a person on a terminal: when, where, whose, what, and why it was rejected. Pure."""

from datetime import UTC, datetime
from typing import NamedTuple

from rich.text import Text

from streams.browse.messages import Browsed, payload_text
from streams.logs.plain import plain
from streams.models import Message, Reading, RejectedMessage

TENANT_SHOWN = 8
"""Letters of a tenant's id: enough to tell one from the others."""
PLACE_WIDTH = 12
INDENT = 13
"""Columns before what stands below the first line."""
S_PER_MS = 1 / 1_000


class ShownMessage(NamedTuple):
    """A message for a person."""

    line: Text
    """Cut where the terminal ends."""
    why: Text | None = None
    """Why it was rejected: of as many lines as it takes."""
    payload: Text | None = None
    """Of a rejected message, on a line of its own; cut likewise."""


def shown(message: Browsed) -> ShownMessage:
    """Return a message for a person."""
    written = datetime.fromtimestamp(message.record.written_ms * S_PER_MS, UTC)
    line = Text(f"{written:%H:%M:%S}.{written.microsecond // 1_000:03} ", style="dim")
    line.append(f"{message.coordinate!s:{PLACE_WIDTH}} ", style="cyan")
    line.append(_series(message), style="bold")
    body = message.body
    if isinstance(body, Reading):
        return ShownMessage(
            line.append(f" {body.value}", style="green").append(f" at {body.timestamp}{_id(body)}")
        )
    payload = _on_one_line(payload_text(body))
    if isinstance(body, RejectedMessage):
        why = Text(f"{message.reason}", style="red").append(f": {plain(body.detail)}", style="default")
        return ShownMessage(line, why, Text(payload, style="dim"))
    return ShownMessage(line.append(f" {payload}"))


def _on_one_line(text: str) -> str:
    """Return a text without what a terminal would obey, line breaks and tabs as blanks."""
    return plain(text).replace("\n", " ").replace("\t", " ")


def _series(message: Browsed) -> str:
    body = message.body
    tenant, agent, metric = message.names
    if isinstance(body, Message | RejectedMessage) and not metric:
        return _on_one_line(body.topic) or "(no topic)"
    return _on_one_line(f"{tenant[:TENANT_SHOWN]} {agent} {metric}")


def _id(reading: Reading) -> str:
    return f" id {plain(reading.dedupe_id)}" if reading.dedupe_id is not None else ""
