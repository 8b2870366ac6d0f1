"""The term under which this worker may carry MQTT, and what the end of ``metrics.raw`` tells of those before.

Between ingress and Kafka: the group's coordinator says whether this worker leads, the newest records say
above which term its own must be.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.errors import Outage
from streams.kafka.connection import connection_options
from streams.kafka.outages import as_outage
from streams.settings import Settings
from streams.wire.headers import SESSION, SUBSCRIPTION, TERM, read_term
from streams.wire.term import NO_TERM, Term

log = logging.getLogger(__name__)

NEWEST = 10
"""Records of each partition that are looked at: the last may be a former leader's that landed late."""
REQUEST_TIMEOUT_MS = 5_000
READ_LIMIT_S = 20.0
POLL_MS = 200
S_PER_MINUTE = 60

Headers = tuple[tuple[str, bytes], ...]


class Tenure(NamedTuple):
    """Under which name a connection's chunks are written."""

    headers: Headers
    """What each chunk carries: the term, if there is one, and the session."""
    had_session: bool
    """Whether the log shows that the broker has kept a session for us before."""
    subscriptions: frozenset[str] = frozenset()
    """Those under which that session has received what the log shows."""


class Office(Protocol):
    """Tells ingress whether it leads, and as whom."""

    async def take(self) -> Tenure:
        """Make sure that this worker leads now; to be asked before each connection to the MQTT broker.

        Raises:
            Outage: if it does not, or Kafka does not answer.
        """
        ...


class Voter(Protocol):
    """Knows the group (`streams.kafka.leadership.Leadership`)."""

    async def confirm(self) -> tuple[int, str]:
        """Return the generation under which this worker leads now, and its name in the group.

        Raises:
            Outage: if it does not lead, or Kafka does not say.
        """
        ...


class Tail(Protocol):
    """Reads the end of ``metrics.raw``."""

    async def newest(self) -> list[dict[str, bytes]]:
        """Return the headers of the newest records of every partition.

        Raises:
            Outage: if Kafka does not answer.
        """
        ...


class KafkaOffice:
    """The real one.

    Args:
        voter: knows the group; None in an MQTT share group, where several write side by side without a term.
        tail: reads the end of the log.
        session: our MQTT client id.
        subscription: what we subscribe to.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self,
        voter: Voter | None,
        tail: Tail,
        session: str,
        subscription: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._voter = voter
        self._tail = tail
        self._session = session
        self._subscription = subscription
        self._clock = clock
        self._elected: tuple[int, str] | None = None
        self._tenure: Tenure | None = None
        self._highest = NO_TERM
        """Of those seen in the log and those of our own."""

    async def take(self) -> Tenure:
        """Ask the group, and look at the log; the answer is a new one where somebody else led meanwhile.

        That shows in the group, or in the log alone: a worker of another group that was not refused yet may
        have written under a higher term. Behind that, what we write under ours would be passed over.
        """
        elected = await self._voter.confirm() if self._voter else None
        newest = await self._tail.newest() if elected is not None or self._tenure is None else []
        if self._tenure is None or elected != self._elected or _highest(newest) > self._highest:
            self._tenure = self._begin(elected, newest)
            self._elected = elected
        return self._tenure

    def _begin(self, elected: tuple[int, str] | None, newest: Iterable[dict[str, bytes]]) -> Tenure:
        newest = list(newest)
        named = (SESSION, self._session.encode())
        ours = [found for found in newest if found.get(SESSION) == named[1]]
        subscriptions = frozenset(
            found[SUBSCRIPTION].decode("utf-8", "replace") for found in ours if SUBSCRIPTION in found
        )
        subscribed = (SUBSCRIPTION, self._subscription.encode())
        if elected is None:
            return Tenure((named, subscribed), bool(ours), subscriptions)
        minute = int(self._clock() // S_PER_MINUTE)
        self._highest = max(self._highest, _highest(newest)).successor(elected[0], minute)
        log.info("ingress leads with the term %d (%d, %d)", self._highest.packed, *self._highest)
        headers = ((TERM, b"%d" % self._highest.packed), named, subscribed)
        return Tenure(headers, bool(ours), subscriptions)


def _highest(newest: Iterable[dict[str, bytes]]) -> Term:
    return max((Term.of(read_term(found)) for found in newest), default=NO_TERM)


class KafkaTail:
    """The real one: a consumer without a group, made for one look."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def newest(self) -> list[dict[str, bytes]]:
        """Read up to `NEWEST` records of each partition."""
        consumer = AIOKafkaConsumer(
            **connection_options(self._settings),
            client_id=f"{self._settings.consumer_group}-terms",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            enable_auto_commit=False,
        )
        try:
            await consumer.start()
            return await asyncio.wait_for(self._read(consumer), READ_LIMIT_S)
        except (KafkaError, OSError, TimeoutError) as error:
            why = (await as_outage(self._settings, error)).detail
            raise Outage("kafka", f"the end of {self._settings.raw_topic} cannot be read: {why}") from error
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> list[dict[str, bytes]]:
        topic = self._settings.raw_topic
        places = [TopicPartition(topic, number) for number in range(self._settings.topic_partitions)]
        consumer.assign(places)
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, max(begins[place], ends[place] - NEWEST))
        found: list[dict[str, bytes]] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            batches: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=POLL_MS)
            found += [dict(record.headers) for batch in batches.values() for record in batch]
        return found
