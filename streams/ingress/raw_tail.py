"""Reads the headers of records of ``metrics.raw``: of the newest, or of those between two of ours.

Between `streams.ingress.terms`, `streams.ingress.other_writers` and Kafka.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.errors import Outage
from streams.kafka.clients import new_consumer
from streams.kafka.outages import as_outage
from streams.settings import Settings
from streams.wire.headers import read_term
from streams.wire.term import NO_TERM, Term

NEWEST = 10
"""Records of each partition that are looked at: the last may be a former leader's that landed late."""
REQUEST_TIMEOUT_MS = 5_000
READ_LIMIT_S = 20.0
POLL_MS = 200


class Newest(NamedTuple):
    """What the end of the log tells."""

    headers: list[dict[str, bytes]]
    """Of the newest records of every partition."""
    ends: dict[int, int]
    """By partition: the offset that the next record will have."""

    @property
    def term(self) -> Term:
        """The highest of those records."""
        return highest_term(self.headers)


class Tail(Protocol):
    """Reads ``metrics.raw``."""

    async def newest(self) -> Newest:
        """Return what the end of the log tells.

        Raises:
            Outage: if Kafka does not answer.
        """
        ...

    async def between(self, partition: int, offsets: range) -> list[dict[str, bytes]]:
        """Return the headers of the first and of the last of some records, `NEWEST` of each at most.

        What is not there any more is left out.

        Raises:
            Outage: if Kafka does not answer.
        """
        ...


def highest_term(headers: list[dict[str, bytes]]) -> Term:
    """Return the highest term that these records tell."""
    return max((Term.of(read_term(found)) for found in headers), default=NO_TERM)


class KafkaTail:
    """The real one: a consumer without a group, made for one look."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def newest(self) -> Newest:
        """Read up to `NEWEST` records of each partition."""
        return await self._look(dict.fromkeys(range(self._settings.topic_partitions)))

    async def between(self, partition: int, offsets: range) -> list[dict[str, bytes]]:
        """Read up to `NEWEST` records from either end."""
        ends = [offsets] if len(offsets) <= 2 * NEWEST else [offsets[:NEWEST], offsets[-NEWEST:]]
        return [found for some in ends for found in (await self._look({partition: some})).headers]

    async def _look(self, spans: Mapping[int, range | None]) -> Newest:
        consumer = new_consumer(self._settings, "terms", request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await consumer.start()
            return await asyncio.wait_for(self._read(consumer, spans), READ_LIMIT_S)
        except (KafkaError, OSError, TimeoutError) as error:
            why = (await as_outage(self._settings, error)).detail
            raise Outage("kafka", f"the end of {self._settings.raw_topic} cannot be read: {why}") from error
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, spans: Mapping[int, range | None]) -> Newest:
        """Read some offsets of each partition; None stands for the newest."""
        places = {TopicPartition(self._settings.raw_topic, number): span for number, span in spans.items()}
        consumer.assign(list(places))
        begins = await consumer.beginning_offsets(list(places))
        ends = await consumer.end_offsets(list(places))
        stops: dict[TopicPartition, int] = {}
        for place, span in places.items():
            end = ends[place]
            first, stop = (end - NEWEST, end) if span is None else (span[0], span[-1] + 1)
            stops[place] = min(stop, end)
            consumer.seek(place, max(begins[place], min(first, end)))
        found: list[dict[str, bytes]] = []
        while any([await consumer.position(place) < stop for place, stop in stops.items()]):
            batches: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=POLL_MS)
            found += [
                dict(record.headers)
                for place, batch in batches.items()
                for record in batch
                if record.offset < stops[place]
            ]
        return Newest(found, {place.partition: end for place, end in ends.items()})
