"""The outside world of the model: what all workers share, and what each of them sees of it through faults."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from streams.errors import DeliveryFailed
from streams.kafka.fake import FakeRecord
from streams.models import Origin
from streams.postgres.tenants import FakeTenants
from streams.queue.fake import FakeRedis
from tables.fake import FakeSeen, Row
from tests.model.faults import Strikes

Log = list[FakeRecord]


@dataclass
class Outside:
    """Kafka, Redis and PostgreSQL, as they stand.

    Attributes:
        raw_life: how often metrics.raw has been recreated.
        raw_before: the records of its earlier lives, by partition.
    """

    now: float = 1_700_000_000.0
    raw: dict[int, Log] = field(default_factory=lambda: defaultdict(list))
    raw_before: dict[int, Log] = field(default_factory=lambda: defaultdict(list))
    raw_life: int = 0
    topics: dict[tuple[str, int], Log] = field(default_factory=lambda: defaultdict(list))
    changelog: list[Row] = field(default_factory=list)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    redis: FakeRedis = field(default_factory=FakeRedis)
    tenants: FakeTenants = field(default_factory=FakeTenants)

    def clock(self) -> float:
        """Return the time, in seconds since 1970."""
        return self.now

    def recreate_raw(self) -> None:
        """Delete metrics.raw and make it again; Kafka forgets what was committed with it."""
        for partition, log in self.raw.items():
            self.raw_before[partition] += log
        self.raw.clear()
        self.raw_life += 1
        self.now += 1  # as it takes
        self.committed = {key: offset for key, offset in self.committed.items() if key[0] != "raw"}


class StruckSeen(FakeSeen):
    """A worker's table, recovered from the changelog that all share."""

    def __init__(self, outside: Outside, strikes: Strikes, window_s: float) -> None:
        super().__init__(window_s=window_s)
        self._strikes = strikes
        self.recover(outside.changelog)

    async def append(self, origin: Origin, value: bytes | None) -> None:
        """Write a row, unless struck."""
        await self._strikes.touch(partial(super().append, origin, value))


class StruckRedis(FakeRedis):
    """A worker's connection to the Redis that all share."""

    def __init__(self, redis: FakeRedis, strikes: Strikes) -> None:
        super().__init__()
        self._redis, self._strikes = redis, strikes

    async def hget(self, key: str, field: str) -> bytes | None:
        """Read a fence, unless struck."""
        return await self._strikes.touch(partial(self._redis.hget, key, field), _no_redis)

    async def _fenced_push(self, *, keys: Sequence[str], args: Sequence[Any]) -> list[str]:
        push = partial(self._redis._fenced_push, keys=keys, args=args)
        return await self._strikes.touch(push, _no_redis)


class StruckTopics:
    """A worker's producer."""

    def __init__(self, outside: Outside, strikes: Strikes) -> None:
        self._outside, self._strikes = outside, strikes

    async def emit(
        self, topic: str, value: bytes, *, partition: int, headers: list[tuple[str, bytes]]
    ) -> None:
        """Append a record, unless struck."""

        async def append() -> None:
            self._outside.topics[topic, partition].append(FakeRecord(value, dict(headers)))

        await self._strikes.touch(append)


def no_kafka() -> Exception:
    """Return what an agent sees of a Kafka that does not answer."""
    return DeliveryFailed("any", "does not answer")


def _no_redis() -> Exception:
    return RedisConnectionError("does not answer")
