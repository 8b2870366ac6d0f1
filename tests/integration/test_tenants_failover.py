"""The tenants, where a standby takes over behind an address that stays: the old server knows no new ones."""

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from streams.counters import Statistics
from streams.database.schema import ensure_tables
from streams.database.tenant_cache import TenantCache
from streams.database.tenants import TenantDirectory
from tests.faults.proxy import Link
from tests.parts.eventually import eventually
from tests.parts.postgres import Postgres
from tests.parts.tenants import add_tenants

UNKNOWN = str(uuid.uuid4())
SESSION = "select min(backend_start) from pg_stat_activity where application_name = 'metric-streams'"
"""When the oldest session of ours began, and nothing if there is none."""


class Pair(NamedTuple):
    """A primary, its standby, and an address that leads to the primary; connections stay where they are."""

    old: Postgres
    new: Postgres
    link: Link

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.link.port}/postgres"

    def refuse_writes(self) -> None:
        self.old.turn_read_only()

    async def fail_over(self) -> str:
        """Promote the standby, and add a tenant there."""
        self.new.execute("select pg_promote()")
        self.link.target_port = self.new.port
        tenant = str(uuid.uuid4())
        await add_tenants(self.new.url, [tenant])
        return tenant


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with ExitStack() as exits:
        old = exits.enter_context(Postgres())
        new = Postgres()
        exits.callback(new.remove)
        yield old, new


@pytest.fixture
async def pair(servers: tuple[Postgres, Postgres]) -> AsyncIterator[Pair]:
    old, new = servers
    old.execute("alter system reset default_transaction_read_only")
    old.restart()
    await ensure_tables(old.url)
    new.follow(old)
    async with Link("worker-postgres", old.port) as link:
        yield Pair(old, new, link)


def make(url: str, statistics: Statistics) -> TenantDirectory:
    cache = TenantCache(known_s=3600, unknown_s=0, clock=time.monotonic)
    return TenantDirectory(url, cache, statistics)


async def is_unknown(directory: TenantDirectory, tenant: str) -> bool:
    return not await directory.known([tenant])


async def test_a_tenant_of_the_new_primary_is_known_although_the_old_one_still_answers(pair: Pair) -> None:
    statistics = Statistics()
    async with make(pair.url, statistics) as directory:
        assert await directory.known([UNKNOWN]) == set()
        pair.refuse_writes()
        tenant = await pair.fail_over()
        assert await directory.known([tenant, UNKNOWN]) == {tenant}
        assert statistics.parts["postgres"].up
        pair.new.execute("delete from tenants")
        await eventually(lambda: is_unknown(directory, tenant))


async def test_a_connection_made_while_nobody_takes_writes_is_left_as_well(pair: Pair) -> None:
    pair.refuse_writes()
    async with make(pair.url, Statistics()) as directory:
        assert await directory.known([UNKNOWN]) == set()
        tenant = await pair.fail_over()
        assert await directory.known([tenant]) == {tenant}


async def test_an_address_that_leads_to_a_replica_as_well_is_not_asked_for_ever(pair: Pair) -> None:
    pair.refuse_writes()
    async with make(pair.url, Statistics()) as directory:
        tenant = await pair.fail_over()
        directory._database_url = pair.new.url  # by turns: what is looked at leads there, the next one back
        pair.link.target_port = pair.old.port
        assert await directory.known([tenant]) == set()


async def test_one_that_may_only_read_keeps_its_connection(pair: Pair) -> None:
    statistics = Statistics()
    async with make(f"{pair.url}?default_transaction_read_only=on", statistics) as directory:
        assert await directory.known([UNKNOWN]) == set()
        before = pair.old.execute(SESSION)
        assert before
        assert await directory.known([UNKNOWN]) == set()
        assert pair.old.execute(SESSION) == before
        assert statistics.parts["postgres"].up
