"""What the worker counts and how its parts fare: written by everyone, shown by the web pages and the log.

One `Statistics` is built by ``streams/application.py`` and handed to whoever counts. It lives on the
event loop alone, so it needs no lock.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from streams.book import Book
from streams.dashboard.busiest import Busiest
from streams.dashboard.refused import Refused
from streams.errors import Outage
from streams.last_seen.table import DeviceTables
from streams.timings import Timings

NOT_ASKED = "not asked yet"


class Count(StrEnum):
    """What is counted of messages and jobs, by the name under which the pages show it."""

    RECEIVED = "received"
    """Ingress: from the MQTT broker."""
    WRITTEN = "written"
    ACKNOWLEDGED = "acknowledged"
    REFINED = "refined"
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    PUSHED = "pushed"
    """Handoff: readings."""
    JOBS = "jobs"
    """Handoff: jobs that were pushed."""
    INGESTED = "ingested"
    """Ingest: rows."""
    JOBS_TAKEN = "jobs_taken"
    JOBS_DONE = "jobs_done"
    JOBS_RELEASED = "jobs_released"
    JOBS_FAILED = "jobs_failed"
    JOBS_RETURNED = "jobs_returned"
    """To the queue, without having been begun."""


class Note(StrEnum):
    """Rare things worth a number; ``docs/operations.md`` explains each."""

    BUGS = "bugs"
    CHUNKS_REPLAYED = "chunks_replayed"
    PAYLOAD_DISAGREES = "payload_disagrees"
    POSITIONS_SET_BACK = "positions_set_back"
    QOS0_DROPPED = "qos0_dropped"
    QUOTA_RELEASED = "quota_released"
    RECORDS_CUT = "records_cut"
    RETAINED_SKIPPED = "retained_skipped"
    SESSIONS_LOST = "sessions_lost"
    SESSIONS_TAKEN_OVER = "sessions_taken_over"
    STALE_CHUNKS = "stale_chunks"
    UNPROVED_REPLAYS = "unproved_replays"
    UNREADABLE = "unreadable"


class Trouble(NamedTuple):
    """What one of those who use a part has met there."""

    detail: str
    waits: tuple[str, ...] = ()
    """What waits for the part because of it, such as ``metrics.unique[0]``; empty where nothing does."""


@dataclass(slots=True)
class PartState:
    """How one part (``kafka``, ``redis``, ``postgres``, ``mqtt``, …) fares.

    Several use a part: each partition's agent, the readiness page, several sessions. It is up again when
    every one of them that had trouble is through; else it would seem to come and go.
    """

    up: bool
    detail: str
    since: float
    """Unix time in seconds of the last change of `up`."""
    troubles: dict[str, Trouble] = field(default_factory=dict)
    """By who has it."""


@dataclass(slots=True)
class Statistics:
    """Counters since the process started, and the state of the parts."""

    started_at: float = field(default_factory=time.time)
    messages: Counter[Count] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason (`streams.models.Reason`)."""
    notes: Counter[Note] = field(default_factory=Counter)
    parts: dict[str, PartState] = field(default_factory=dict)
    book: Book = field(default_factory=Book)
    timings: Timings = field(default_factory=Timings)
    busy_tenants: Busiest = field(default_factory=Busiest)
    """By what is handed off."""
    refused: Refused = field(default_factory=Refused)
    devices: DeviceTables = field(default_factory=DeviceTables)

    def expect(self, name: str) -> None:
        """Show a part from the start, before it was asked anything."""
        self._state(name)

    def down(self, name: str, who: str, detail: str, waits: tuple[str, ...] = ()) -> None:
        """Record that a part gives no answer, or not the one that is needed.

        Args:
            name: of the part.
            who: has met it; the same one says `up` when it is over.
            detail: why, without the part's name.
            waits: what waits for the part meanwhile.
        """
        state = self._state(name)
        state.troubles[who] = Trouble(detail, waits)
        self._set(state, up=False, detail=detail)

    def up(self, name: str, who: str, detail: str = "") -> None:
        """Record that a part answers one of those who use it; others may still have trouble with it."""
        state = self._state(name)
        state.troubles.pop(who, None)
        if state.troubles:
            detail = next(reversed(state.troubles.values())).detail
        self._set(state, up=not state.troubles, detail=detail)

    def leave(self, name: str, who: str) -> None:
        """Record that one of those who had trouble waits no more, whatever the part does."""
        if who in self._state(name).troubles:
            self.up(name, who)

    def pause(self, name: str, detail: str) -> None:
        """Record that a part is not used now, for another reason than its own."""
        self._set(self._state(name), up=False, detail=detail)

    async def ask(self, name: str) -> None:
        """Tell how a part fared last, for a part that cannot be asked from here.

        Raises:
            Outage: if it was down, or has not been heard of yet.
        """
        state = self._state(name)
        if not state.up:
            raise Outage(name, state.detail)

    def _state(self, name: str) -> PartState:
        if name not in self.parts:
            self.parts[name] = PartState(up=False, detail=NOT_ASKED, since=time.time())
        return self.parts[name]

    @staticmethod
    def _set(state: PartState, *, up: bool, detail: str) -> None:
        if state.up is not up:
            state.up, state.since = up, time.time()
        state.detail = detail
