"""Publishes as devices would: at an even rate, several messages in flight, counting what the broker takes.

Between a plan (``streams/demo/simulation.py``) and a broker (``streams/mqtt/publisher.py``). Used by
``simulate`` and by ``./dev run``.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from streams.demo.simulation import PlannedPublication, PublicationKind
from streams.errors import Outage

TICK_S = 0.005
"""The shortest pause: at thousands a second, a wake-up carries several publications."""

MAX_BEHIND_S = 1.0
"""Further behind than this, the schedule is moved on: a stall is not made up for by a burst."""

IN_FLIGHT = 500
"""Publications without their acknowledgement at most, if the broker allows as many."""

ANSWER_TIMEOUT_S = 10.0
"""How long the last acknowledgements are waited for."""


class Publisher(Protocol):
    """Takes messages to a broker.

    Attributes:
        in_flight_max: how many the broker lets wait for their acknowledgement.
    """

    in_flight_max: int

    def publish(self, topic: str, payload: bytes, qos: int) -> "asyncio.Future[bool]":
        """Send a message.

        Returns:
            True once the broker has taken it (at QoS 0: once it is written), False if it refused it. The
            future raises `Outage` if the connection ends first.
        """
        ...


@dataclass(slots=True)
class FleetSummary:
    """What came of a run."""

    sent: int = 0
    acked: Counter[PublicationKind] = field(default_factory=Counter)
    refused: Counter[PublicationKind] = field(default_factory=Counter)
    unanswered: int = 0
    """Sent, and neither acknowledged nor refused: nobody can tell whether the broker has them."""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Acknowledged messages a second."""
        return self.acked.total() / self.seconds if self.seconds else 0.0


class Fleet:
    """Publishes a plan.

    Args:
        plan: what to publish, in this order; ends the run if it ends.
        publisher: where to.
        rate: messages a second.
        qos: 0, 1 or 2.
        on_sent: told of every publication as it is sent.
        on_progress: called after each wake-up with the summary so far.

    Attributes:
        summary: kept up to date during the run.
    """

    def __init__(
        self,
        plan: Iterator[PlannedPublication],
        publisher: Publisher,
        *,
        rate: float,
        qos: int = 1,
        on_sent: Callable[[PlannedPublication], None] = lambda _: None,
        on_progress: Callable[[FleetSummary], None] = lambda _: None,
    ) -> None:
        self.summary = FleetSummary()
        self._plan = plan
        self._publisher = publisher
        self._rate = rate
        self._qos = qos
        self._on_sent = on_sent
        self._on_progress = on_progress
        self._waiting: set[asyncio.Future[bool]] = set()
        self._wake = asyncio.Event()
        self._wants_answers = False
        self._stopped = False
        self._failure: Outage | None = None

    def stop(self) -> None:
        """End the run: send nothing more, and wait for what is in flight."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> FleetSummary:
        """Publish until the plan ends or `stop` is called, then wait for the last acknowledgements.

        Raises:
            Outage: if the connection ends; `summary` tells what was acknowledged until then.
        """
        now = asyncio.get_running_loop().time
        began = now()
        schedule = _Schedule(self._rate, began)
        try:
            while not self._stopped:
                pause_s = self._send_due(schedule, now())
                self.summary.seconds = now() - began
                self._on_progress(self.summary)
                await self._pause(pause_s)
            if self._failure is None:
                await self._settle()
        finally:
            self.summary.seconds = now() - began
            self.summary.unanswered = self.summary.sent - self._answered
            self._on_progress(self.summary)
        if self._failure is not None:
            raise self._failure
        return self.summary

    @property
    def _answered(self) -> int:
        return self.summary.acked.total() + self.summary.refused.total()

    def _send_due(self, schedule: "_Schedule", now: float) -> float | None:
        """Send what is due; return the seconds until more is, None for when an acknowledgement makes room."""
        most = min(IN_FLIGHT, self._publisher.in_flight_max)
        for _ in range(schedule.due(now)):
            if len(self._waiting) >= most:
                return None
            publication = next(self._plan, None)
            if publication is None:
                self.stop()
                return 0
            schedule.sent += 1
            self._send(publication)
        return max(TICK_S, schedule.next_at - now)

    def _send(self, publication: PlannedPublication) -> None:
        answer = self._publisher.publish(publication.topic, publication.payload, self._qos)
        self.summary.sent += 1
        self._on_sent(publication)
        self._waiting.add(answer)
        answer.add_done_callback(lambda done: self._on_answer(publication.kind, done))

    def _on_answer(self, kind: PublicationKind, answer: "asyncio.Future[bool]") -> None:
        self._waiting.discard(answer)
        failure = answer.exception()
        if failure is None:
            (self.summary.acked if answer.result() else self.summary.refused)[kind] += 1
        elif isinstance(failure, Outage):
            self._failure = failure
            self.stop()
        else:
            raise failure
        if self._wants_answers:
            self._wake.set()

    async def _pause(self, pause_s: float | None) -> None:
        """Sleep, woken early by `stop`, and where `pause_s` is None by any answer."""
        self._wants_answers = pause_s is None
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        if not self._stopped:
            self._wake.clear()

    async def _settle(self) -> None:
        """Wait until nothing is in flight, but not for ever."""
        self._wants_answers = True
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while self._waiting:
                    self._wake.clear()
                    await self._wake.wait()


@dataclass(slots=True)
class _Schedule:
    """When each publication is due."""

    rate: float
    began: float
    sent: int = 0

    def due(self, now: float) -> int:
        """Return how many publications should have been sent by now and were not."""
        self.began = max(self.began, now - MAX_BEHIND_S - self.sent / self.rate)
        return int((now - self.began) * self.rate) + 1 - self.sent

    @property
    def next_at(self) -> float:
        """When the next one is due."""
        return self.began + self.sent / self.rate
