"""``metric-streams explain``: says what would become of a message, and why.

It stands with the agents, whose steps it runs.
"""

import os
import sys
import textwrap
import time

import click
import msgspec
from faust.cli import argument, option

from agents.explanation import Explanation, Prospect, examine_alone, explain
from streams.commands.base import PlainCommand, command
from streams.database.session import connected
from streams.database.tenant_admin import existing_tenants
from streams.errors import Outage
from streams.ingress.flow import rfc3339
from streams.logs.plain import plain

WIDTH, INDENT = 80, 11
STYLES = {Prospect.ACCEPTED: "green", Prospect.REJECTED: "red", Prospect.NOT_RECEIVED: "yellow"}
STDIN = "-"


def shown(explanation: Explanation) -> str:
    """Return an explanation for a person, in 80 columns."""
    lines = [_line(step.step, step.says) for step in explanation.steps]
    if explanation.row is not None:
        row = explanation.row.items()
        lines.append(_line("row", ", ".join(f"{name} {value}" for name, value in row if value is not None)))
    return "\n".join(lines)


def _line(name: str, says: str) -> str:
    first = f"{name:{INDENT}}"
    return textwrap.fill(
        plain(says), WIDTH, initial_indent=first, subsequent_indent=" " * INDENT, break_on_hyphens=False
    )


async def does_exist(tenant_id: str | None, database_url: str) -> tuple[bool | None, str]:
    """Return whether the application has a tenant, or None and why nobody can tell."""
    if tenant_id is None:
        return None, ""
    try:
        async with connected(database_url) as connection:
            return tenant_id in await existing_tenants(connection, [tenant_id]), ""
    except Outage as outage:
        return None, str(outage)


@command(
    argument("topic"),
    argument("payload"),
    option("--json", "as_json", is_flag=True, help="Print JSON."),
    name="explain",
)
async def explain_command(self: PlainCommand, topic: str, payload: str, *, as_json: bool) -> None:
    """Say what would become of a message if it arrived now, and why; nothing is sent.

    PAYLOAD may be - for what comes on stdin. Whether its tenant exists is asked in PostgreSQL; where that is
    away, it says so.

    For example: metric-streams explain metrics/acme/edge-7/cpu '{"value": 1}'
    """
    content = sys.stdin.buffer.read() if payload == STDIN else os.fsencode(payload)
    received_at = rfc3339(time.time_ns())
    settings = self.settings
    examined = examine_alone(topic, content, received_at, settings)
    exists, why = await does_exist(examined.tenant_id, settings.database_url.get_secret_value())
    told = explain(examined, settings, exists=exists, why_unknown=why)
    if self.json or as_json:
        self.say(msgspec.json.encode(told).decode())
        return
    self.say(shown(told))
    doubt = ", if its tenant exists" if told.outcome is Prospect.ACCEPTED and exists is None else ""
    self.say(click.style(f"=> {told.outcome}{doubt}", fg=STYLES[told.outcome], bold=True))
