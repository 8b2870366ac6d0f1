"""Runs the sampler, asks the parts while somebody watches, and has what is sent to the pages.

Between the sampler and the event stream. Each second is encoded once, however many watch, and not at all
where nobody does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from streams.background import Background
from streams.counters import Statistics
from streams.dashboard.exchange import Queued
from streams.dashboard.peers import Peers
from streams.dashboard.sampler import Sampler
from streams.dashboard.summary import PartSeen, encode
from streams.web.shared import PartHealth

EVERY_S = 1.0
MOST_WATCHERS = 64


class Others(Protocol):
    """The other workers and the queue, as `Exchange` knows them."""

    standing: PartSeen
    queued: Queued | None
    peers: Peers

    async def swap(self, told: bytes) -> None:
        """Tell what there is to tell, and hear the others."""
        ...

    async def leave(self) -> None:
        """Tell the others that this worker is gone."""
        ...


class TooManyWatch(Exception):  # noqa: N818 - an answer to a request, and no error of ours
    """There are as many event streams as may be."""


class Board:
    """What the dashboard shows.

    Args:
        sampler: takes the looks.
        exchange: tells the other workers.
        readiness: asks every part how it fares.
        partitions: tells the position and the lag of each partition that this worker holds.
        group: the consumer group's name.
        statistics: counts bugs.
        change: tells of the last replay or dismissal that was asked for here.
    """

    def __init__(
        self,
        sampler: Sampler,
        exchange: Others,
        readiness: Callable[[], Awaitable[Mapping[str, PartHealth]]],
        partitions: Callable[[], list[dict[str, Any]]],
        *,
        group: str,
        statistics: Statistics,
        change: Callable[[], Any] = lambda: None,
    ) -> None:
        self._change = change
        self._sampler = sampler
        self._exchange = exchange
        self._readiness = readiness
        self._partitions = partitions
        self._group = group
        self._parts: dict[str, PartSeen] = {}
        self._watchers = 0
        self._watched = asyncio.Event()
        self._ticked = asyncio.Event()
        self._figures: dict[str, float] = {}
        self._at = 0.0
        self._encoded: bytes | None = None
        self._is_over = False
        self._each_second = [
            Background(
                "the dashboard",
                turn,
                EVERY_S,
                statistics,
                meaning="Until it is mended, the dashboard may be out of date; the worker carries on",
                by_the_clock=True,
            )
            for turn in (self._look, self._swap, self._ask)
        ]

    @property
    def watchers(self) -> int:
        """How many pages are open."""
        return self._watchers

    async def start(self) -> None:
        """Begin to look."""
        self._is_over = False
        for each in self._each_second:
            each.begin()

    async def stop(self) -> None:
        """Stop looking, and close the pages."""
        self._is_over = True
        self._ticked.set()
        await asyncio.gather(*(each.end() for each in self._each_second))
        await self._exchange.leave()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a page while it is open.

        Raises:
            TooManyWatch: if there are too many.
        """
        if self._watchers >= MOST_WATCHERS:
            raise TooManyWatch
        self._watchers += 1
        self._watched.set()
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()
                self._parts = {}

    async def next(self) -> bytes | None:
        """Return the next second, as JSON; None once the worker ends."""
        await self._ticked.wait()
        if self._is_over:
            return None
        if self._encoded is None:
            self._encoded = _json(self._now())
        return self._encoded

    def history(self) -> bytes:
        """Return the last fifteen minutes, as JSON."""
        return _json(self._sampler.ring.history())

    async def _look(self) -> None:
        self._at = time.time()
        self._figures = self._sampler.look(time.monotonic(), self._at)
        self._encoded = None
        # A new event first: a page that is woken waits for the next second, not once more for this one.
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    async def _swap(self) -> None:
        await self._exchange.swap(encode(self._sampler.summary))

    async def _ask(self) -> None:
        """Ask the parts, as long as somebody looks: an outage shows at once, and not only where it is met."""
        # Asking costs each part a round trip, and a worker is mostly watched by nobody.
        await self._watched.wait()
        healths = await self._readiness()
        now = time.time()
        for name, health in healths.items():
            self._parts[name] = PartSeen(health.up, health.detail, self._since(name, health.up, now))

    def _since(self, name: str, is_up: bool, now: float) -> float:  # noqa: FBT001 - what the part is
        """Return when a part came to be up, or down; 0 if that was before anybody looked."""
        told, before = self._sampler.summary.parts.get(name), self._parts.get(name)
        if told is not None and told.up is is_up:
            return told.since
        if before is None:
            return 0.0
        return before.since if before.up is is_up else now

    def _now(self) -> dict[str, Any]:
        now, summary = time.monotonic(), self._sampler.summary
        peers = self._exchange.peers.all(now)
        workers: list[dict[str, Any]] = [{"silent_s": 0.0} | msgspec.to_builtins(summary)]
        workers += [
            {"silent_s": round(peer.silent_s, 1)} | msgspec.to_builtins(peer.summary) for peer in peers
        ]
        return {
            "at": self._at,
            "group": self._group,
            "worker": summary.id,
            "figures": {name: round(figure, 4) for name, figure in self._figures.items()},
            "parts": self._parts or summary.parts,
            "workers": workers,
            "exchange": self._exchange.standing,
            "queue": self._exchange.queued and self._exchange.queued._asdict(),
            "partitions": self._partitions(),
            "marks": list(self._sampler.marks),
            "change": self._change(),
        }


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
