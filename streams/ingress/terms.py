"""The term under which this worker may carry MQTT, and what the end of ``metrics.raw`` tells of those before.

Between ingress and Kafka: the group's coordinator says whether this worker leads, the newest records say
above which term its own must be.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from streams.ingress.other_writers import OtherWriters
from streams.ingress.raw_tail import Tail
from streams.wire.headers import SESSION, SUBSCRIPTION, TERM
from streams.wire.term import NO_TERM

log = logging.getLogger(__name__)

S_PER_MINUTE = 60

Headers = tuple[tuple[str, bytes], ...]


class LeaderTerm(NamedTuple):
    """Under which name a connection's chunks are written."""

    headers: Headers
    """What each chunk carries: the term, if there is one, and the session."""
    had_session: bool
    """Whether the log shows that the broker has kept a session for us before."""
    subscriptions: frozenset[str] = frozenset()
    """Those under which that session has received what the log shows."""
    others: frozenset[str] = frozenset()
    """The client ids of other sessions that the log shows; none in a share group, where there are several."""


class TermSource(Protocol):
    """Tells ingress whether it leads, and as whom."""

    async def take(self) -> LeaderTerm:
        """Make sure that this worker leads now; to be asked before each connection to the MQTT broker.

        Raises:
            Outage: if it does not, or Kafka does not answer.
        """
        ...


class Membership(Protocol):
    """Knows the group (`streams.kafka.leadership.Leadership`)."""

    async def confirm(self) -> tuple[int, str]:
        """Return the generation under which this worker leads now, and its name in the group.

        Raises:
            Outage: if it does not lead, or Kafka does not say.
        """
        ...


class KafkaTermSource:
    """The real one.

    Args:
        voter: knows the group; None in an MQTT share group, where several write side by side without a term.
        tail: reads the end of the log.
        session: our MQTT client id.
        subscription: what we subscribe to.
        other_writers: is told of each term, and from where on to watch.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self,
        voter: Membership | None,
        tail: Tail,
        session: str,
        subscription: str,
        other_writers: OtherWriters,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._voter = voter
        self._tail = tail
        self._session = session
        self._subscription = subscription
        self._other_writers = other_writers
        self._clock = clock
        self._elected: tuple[int, str] | None = None
        self._leader_term: LeaderTerm | None = None
        self._highest = NO_TERM
        """Of those seen in the log and those of our own."""

    async def take(self) -> LeaderTerm:
        """Ask the group, and look at the log; the answer is a new one where somebody else led meanwhile.

        That shows in the group, or in the log alone: a worker of another group that was not refused yet may
        have written under a higher term. Behind that, what we write under ours would be skipped.
        """
        elected = await self._voter.confirm() if self._voter else None
        # In a share group nobody leads, so nothing that another worker does changes the answer.
        if elected is None and self._leader_term is not None:
            return self._leader_term
        newest = await self._tail.newest()
        seen = max(newest.term, self._other_writers.highest)
        if self._leader_term is None or elected != self._elected or seen > self._highest:
            self._highest = max(self._highest, seen)
            self._leader_term = self._begin(elected, newest.headers)
            self._elected = elected
        if elected is not None:
            # With the ends of this very look, so that no record can land between the look and the watch.
            self._other_writers.begin(self._highest, newest.ends)
        return self._leader_term

    def _begin(self, elected: tuple[int, str] | None, newest: Iterable[dict[str, bytes]]) -> LeaderTerm:
        named = (SESSION, self._session.encode())
        found_in = list(newest)
        ours = [found for found in found_in if found.get(SESSION) == named[1]]
        sessions = {found[SESSION].decode("utf-8", "replace") for found in found_in if SESSION in found}
        subscriptions = frozenset(
            found[SUBSCRIPTION].decode("utf-8", "replace") for found in ours if SUBSCRIPTION in found
        )
        subscribed = (SUBSCRIPTION, self._subscription.encode())
        if elected is None:
            return LeaderTerm((named, subscribed), bool(ours), subscriptions)
        minute = int(self._clock() // S_PER_MINUTE)
        # By the generation where that has grown, else by a new lineage: a group that was deleted begins with
        # 1 again.
        self._highest = self._highest.successor(elected[0], minute)
        log.info("ingress leads with the term %d (%d, %d)", self._highest.packed, *self._highest)
        headers = ((TERM, b"%d" % self._highest.packed), named, subscribed)
        others = frozenset(sessions - {self._session})
        return LeaderTerm(headers, bool(ours), subscriptions, others)
