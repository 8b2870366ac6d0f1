"""What the pages of the worker and of ingest have in common: who may read them, and how a part is asked.

The statistics ask for the bearer token, if there is one; health is for whoever starts and stops a process,
and says nothing of tenants.
"""

import asyncio
import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from streams.asking import Probe
from streams.counters import Statistics
from streams.errors import Outage

PROBE_TIMEOUT_S = 2.0

REFUSAL = {"error": "send WEB_TOKEN"}
REFUSAL_HEADERS = {"WWW-Authenticate": "Bearer"}


class PartHealth(NamedTuple):
    """How one part fares, as the page shows it."""

    up: bool
    detail: str


def is_allowed(headers: Mapping[str, str], token: str) -> bool:
    """Tell whether a request carries the token, where one is set."""
    given = headers.get("Authorization", "").removeprefix("Bearer ")
    return not token or hmac.compare_digest(given.encode(errors="replace"), token.encode())


def refused(status: int, why: str) -> web.Response:
    """Return an answer that says why there is none."""
    return web.json_response({"error": why}, status=status)


async def ask_all(probes: Mapping[str, Probe]) -> dict[str, PartHealth]:
    """Ask every part at once how it fares."""
    answers = await asyncio.gather(*(_ask(probe) for probe in probes.values()))
    return dict(zip(probes, answers, strict=True))


async def _ask(probe: Probe) -> PartHealth:
    try:
        # Supervisors give up after a few seconds, and take no answer for a dead worker.
        await asyncio.wait_for(probe(), PROBE_TIMEOUT_S)
    except TimeoutError:
        return PartHealth(up=False, detail=f"no answer within {PROBE_TIMEOUT_S:g} s")
    except Outage as outage:
        return PartHealth(up=False, detail=outage.detail)
    return PartHealth(up=True, detail="")


def ready_page(parts: Mapping[str, PartHealth]) -> tuple[dict[str, Any], int]:
    """Return the body of ``/health/ready`` and its status: 200, or 503 if a part is missing."""
    ready = all(part.up for part in parts.values())
    body = {"ready": ready, "parts": {name: part._asdict() for name, part in parts.items()}}
    return body, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE


def parts_shown(statistics: Statistics) -> dict[str, dict[str, Any]]:
    """Return the state of each part as the statistics show it."""
    return {
        name: {"up": part.up, "detail": part.detail, "since": part.since}
        for name, part in sorted(statistics.parts.items())
    }
