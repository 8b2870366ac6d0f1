"""The shipped fakes as one worker reaches them: through its gate."""

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError

from streams.database.tenant_cache import TenantCache
from streams.database.tenants import FakeTenants
from streams.errors import DeliveryFailed, Outage
from streams.kafka.producer import Outgoing
from streams.kafka.testing import FakeLanding, FakeTopics
from streams.laravel.pipelined_script import Script
from streams.laravel.testing import FakeRedis
from streams.models import Origin
from streams.wire.decision import Decision
from tables.testing import FakeSeen, Row
from tests.model.gate import Gate

kafka_failed = partial(DeliveryFailed, "a topic", "cut off by the model")
redis_failed = partial(RedisConnectionError, "cut off by the model")
postgres_failed = partial(Outage, "postgres", "cut off by the model")


class GatedSeen(FakeSeen):
    """The table as one worker has it, recovered from the changelog that all share.

    Args:
        rows: of the changelog.
        gate: of the worker.
        on_row: told of each row that lasts.
        window_s: of dedupe.
    """

    def __init__(
        self, rows: list[Row], gate: Gate, on_row: Callable[[Origin, bytes | None], None], window_s: float
    ) -> None:
        super().__init__(window_s=window_s)
        self.recover(rows)
        self.is_dropping = False
        """Whether the decisions about a log that is gone are being removed."""
        self.left_to_record = 0
        """Decisions made together of which the rows are still to come."""
        self._gate = gate
        self._on_row = on_row
        self.fields: int | None = None
        """So many fields of a decision are written, as an older version does; None for all."""

    async def record(self, decisions: Sequence[tuple[Origin, Decision]]) -> None:
        self.left_to_record = len(decisions)
        await super().record(decisions)

    async def append(self, origin: Origin, value: bytes | None) -> None:
        await self._gate.passing(kafka_failed)
        if value is not None and self.fields is not None:
            value = msgspec.msgpack.encode(msgspec.msgpack.decode(value)[: self.fields])
        await super().append(origin, value)
        self.left_to_record -= value is not None
        self._on_row(origin, value)
        await self._gate.passing(kafka_failed)

    async def drop_from(self, partition: int, start: int) -> None:
        self.is_dropping = True
        await super().drop_from(partition, start)
        self.is_dropping = False


class GatedTopics:
    """metrics.unique and metrics.rejected."""

    def __init__(self, shared: FakeTopics, gate: Gate) -> None:
        self._shared = shared
        self._gate = gate
        self.headers: frozenset[str] | None = None
        """Those that are written, as an older version does; None for all."""

    async def emit(self, records: Sequence[Outgoing]) -> list[FakeLanding]:
        landed: list[FakeLanding] = []
        for record in records:
            await self._gate.passing(kafka_failed)
            landed += await self._shared.emit([self._written(record)])
            await self._gate.passing(kafka_failed)
        return landed

    def _written(self, record: Outgoing) -> Outgoing:
        kept = self.headers
        if kept is None:
            return record
        return record._replace(headers=[(name, value) for name, value in record.headers if name in kept])


class GatedRedis(FakeRedis):
    """One connection to the Redis that all share."""

    def __init__(self, shared: FakeRedis, gate: Gate) -> None:
        super().__init__()
        self._shared = shared
        self._gate = gate

    async def hmget(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        await self._gate.passing(redis_failed)
        return await self._shared.hmget(key, fields)

    def register_script(self, script: str) -> Script:
        run = self._shared.register_script(script)

        async def gated(*, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
            await self._gate.passing(redis_failed)
            answer = await run(keys=keys, args=args)
            await self._gate.passing(redis_failed)
            return answer

        return gated


class GatedTenants:
    """The tenants' table behind the real cache; `answered` is the last answer."""

    def __init__(self, shared: FakeTenants, cache: TenantCache, gate: Gate) -> None:
        self._shared = shared
        self._cache = cache
        self._gate = gate
        self.answered: AbstractSet[str] = frozenset()

    async def known(self, tenant_ids: Collection[str]) -> AbstractSet[str]:
        self.answered = await self._known(tenant_ids)
        return self.answered

    async def _known(self, tenant_ids: Collection[str]) -> AbstractSet[str]:
        answer = self._cache.look_up(tenant_ids)
        if not answer.missing:
            return answer.known
        await self._gate.passing(postgres_failed)
        generation = self._cache.generation
        found = await self._shared.known(answer.missing)
        await self._gate.passing(postgres_failed)
        self._cache.remember(answer.missing, found, generation=generation)
        return answer.known | found
