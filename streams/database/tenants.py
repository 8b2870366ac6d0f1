"""Which tenants exist: the question that refine's validate step asks for every chunk."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Protocol, Self

import asyncpg

from streams.counters import Statistics
from streams.database.catalogue import problems, read_tables
from streams.database.outages import PART
from streams.database.schema import TENANTS_CHANNEL
from streams.database.session import DatabaseSession, connected, is_pooled
from streams.database.tenant_cache import TenantCache
from streams.errors import Outage
from streams.settings import Settings

log = logging.getLogger(__name__)

POOLED = (
    "DATABASE_URL leads to a pooler such as pgbouncer, which may not pass on PostgreSQL's notifications "
    "about tenants. So a new tenant counts after TENANT_UNKNOWN_S, and a removed one after TENANT_KNOWN_S. "
    "Both would count at once with a DATABASE_URL that leads to PostgreSQL itself"
)
LEFT_BEHIND = (
    "PostgreSQL has failed over: our connection leads to a read-only server, and DATABASE_URL to another one "
    "by now. Connecting again, since the old server may lack new tenants"
)
ASKED_TOGETHER = 2_000
"""Tenants that others want, in one question; each takes some 2 µs of the event loop."""
READ_ONLY = "current_setting('transaction_read_only')::bool"


def existing(id_type: str) -> str:
    """Return the question which of some tenants exist, so that it can use the index.

    Args:
        id_type: of ``tenants.id``: uuid, or where the table came from MySQL ``character``; empty if unknown.
    """
    # To cast to a plain "character" would leave one letter.
    cast = {"": "uuid", "character": "bpchar"}.get(id_type, id_type)
    return f"select id::text from tenants where id = any($1::text[]::{cast}[])"  # noqa: S608 - from the catalogue


class Tenants(Protocol):
    """Knows which tenants exist."""

    async def known(self, tenant_ids: Collection[str]) -> AbstractSet[str]:
        """Return those of the ids that exist.

        Args:
            tenant_ids: UUIDs in their canonical form, in lower case.

        Raises:
            Outage: nobody can tell for at least one of them now.
        """


class TenantDirectory:
    """Asks PostgreSQL at most once a call, for the ids alone that the cache lacks.

    Who calls while a question is under way has a part in the next one: a flood of invented tenants, spread
    over all partitions, costs each of them two waits and not one for each of the others.

    A NOTIFY from the trigger of ``schema.sql`` makes a change count at once. A database that Laravel made
    has no such trigger, and a pooler passes nothing on: there the cache's times are the delay. While
    PostgreSQL is away, tenants that existed before pass, and a call that names any other raises `Outage`.
    """

    def __init__(
        self, database_url: str, cache: TenantCache, statistics: Statistics, *, timeout_s: float = 5.0
    ) -> None:
        self._cache = cache
        self._database_url = database_url
        self._session = DatabaseSession(
            database_url, statistics, on_connect=self._listen, timeout_s=timeout_s
        )
        self._asking = asyncio.Lock()
        self._wanted: set[str] = set()
        """What those ask for who wait for the question that is under way."""
        self._existing = existing("")
        self._told_of_pooler = False

    @classmethod
    def from_settings(cls, settings: Settings, statistics: Statistics) -> Self:
        """Build the directory as the worker uses it."""
        cache = TenantCache(
            known_s=settings.tenant_known_s, unknown_s=settings.tenant_unknown_s, clock=time.monotonic
        )
        return cls(settings.database_url.get_secret_value(), cache, statistics)

    async def start(self) -> None:
        """Connect, in the background where PostgreSQL does not answer at once."""
        await self._session.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._session.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def known(self, tenant_ids: Collection[str]) -> AbstractSet[str]:
        """Return those of the ids that exist; see `Tenants.known`."""
        answer = self._cache.look_up(tenant_ids)
        if not answer.missing:
            return answer.known
        if len(self._wanted) < ASKED_TOGETHER:
            self._wanted |= answer.missing
        async with self._asking:  # partitions that ask at once share one question, and its way
            answer = self._cache.look_up(tenant_ids)
            if not answer.missing:
                return answer.known
            # Who comes from here on is in the next question: this one is on its way.
            wanted, self._wanted = self._wanted, set()
            return answer.known | await self._ask(answer.missing, wanted)

    async def check(self) -> None:
        """Return if PostgreSQL answers, for the readiness page.

        Raises:
            Outage: it does not, or the table of tenants is not as it must be.
        """
        async with self._session.use() as connection:
            tables = await read_tables(connection, "tenants")
            if found := problems(tables):
                raise Outage(PART, "; ".join(found))
            # The question itself: it needs the right, and an id that can be compared.
            await connection.fetch(self._existing, [])

    async def _ask(
        self, missing: AbstractSet[str], wanted: AbstractSet[str], *, is_renewed: bool = False
    ) -> AbstractSet[str]:
        """Return those that exist of the missing, and ask for what others want along with them.

        Once more where a failover has left our connection on the old primary.
        """
        # Noted before the question: an answer that a notification has overtaken must not be remembered.
        generation, asked = self._cache.generation, missing | wanted
        try:
            async with self._session.use() as connection:
                # Not before: a new connection may have found ids of another type.
                question = f"select array({self._existing}), {READ_ONLY}"
                [(ids, is_read_only)] = await connection.fetch(question, list(asked))
            # Not twice: an address may lead to replicas by turns.
            if is_read_only and not is_renewed and await self._address_leads_elsewhere():
                log.info("%s", LEFT_BEHIND)
                await self._session.renew()
                return await self._ask(missing, wanted, is_renewed=True)
        except Outage:
            stale = self._cache.stale(missing)
            # Known before, though for longer than it counts: during an outage that is good enough, not to
            # know is not.
            if len(stale) < len(missing):
                raise
            return stale
        found = set(ids)
        self._cache.remember(asked, found, generation=generation)
        return found & missing

    async def _address_leads_elsewhere(self) -> bool:
        """Tell whether a new connection would lead to a server that takes writes.

        Then ours has stayed on an old primary, which never hears of tenants that are added now.
        """
        async with connected(self._database_url) as connection:
            return not await connection.fetchval(f"select {READ_ONLY}")

    async def _listen(self, connection: asyncpg.Connection) -> None:
        """Listen first, then ask for everything again: what changed unheard must not be missed."""
        if await is_pooled(connection):
            self._tell_of_pooler()
        else:
            await connection.add_listener(TENANTS_CHANNEL, self._on_notify)
        tenants = (await read_tables(connection, "tenants"))["tenants"]
        self._existing = existing(tenants.type_of("id") if tenants else "")
        # Expired, not forgotten: while PostgreSQL is away again what was known still passes.
        self._cache.expire_all()

    def _tell_of_pooler(self) -> None:
        if not self._told_of_pooler:
            self._told_of_pooler = True
            log.info("%s", POOLED)

    def _on_notify(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        tenant_id = str(payload)
        log.info("tenant %s changed: asking for it again", tenant_id or "list")
        if tenant_id:
            self._cache.forget(tenant_id)
        else:
            self._cache.forget_all()


class FakeTenants:
    """`Tenants` in memory, for tests and demonstrations.

    Attributes:
        existing: the tenants that exist; change it at will.
        away: True for an outage: every call raises.
    """

    def __init__(self, existing: Iterable[str] = ()) -> None:
        self.existing = set(existing)
        self.away = False

    async def known(self, tenant_ids: Collection[str]) -> AbstractSet[str]:
        """Return those of the ids that exist; see `Tenants.known`."""
        await self.check()
        return self.existing.intersection(tenant_ids)

    async def check(self) -> None:
        """Raise `Outage` while `away`."""
        if self.away:
            raise Outage("postgres", "away, as the test asked")
