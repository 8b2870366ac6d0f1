"""What the worker counts and how its parts fare: written by everyone, shown by the web pages.

One `Statistics` is built by ``streams/application.py`` and handed to whoever counts. It lives on the
event loop alone, so it needs no lock.
"""

import time
from collections import Counter
from dataclasses import dataclass, field

from streams.errors import Outage


@dataclass(slots=True)
class PartState:
    """How one part (``kafka``, ``redis``, ``postgres``, ``mqtt``, …) fares."""

    up: bool
    detail: str
    since: float
    """Unix time in seconds of the last change of `up`."""


@dataclass(slots=True)
class Statistics:
    """Counters since the process started, and the state of the parts."""

    started_at: float = field(default_factory=time.time)
    messages: Counter[str] = field(default_factory=Counter)
    """By stage: received, written, acknowledged, accepted, duplicate, rejected, pushed, …"""
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason (`streams.models.Reason`)."""
    notes: Counter[str] = field(default_factory=Counter)
    """Rare things worth a number: retained_skipped, qos0_dropped, payload_disagrees, …"""
    parts: dict[str, PartState] = field(default_factory=dict)

    def set_part(self, name: str, *, up: bool, detail: str = "") -> bool:
        """Record a part's state; return whether `up` changed, so that the caller logs it once."""
        before = self.parts.get(name)
        changed = before is None or before.up is not up
        since = time.time() if changed or before is None else before.since
        self.parts[name] = PartState(up, detail, since)
        return changed

    async def ask(self, name: str) -> None:
        """Tell how a part fared last, for a part that cannot be asked from here.

        Raises:
            Outage: if it was down, or has not been heard of yet.
        """
        state = self.parts.get(name)
        if state is None or not state.up:
            raise Outage(name, state.detail if state else "not started yet")
