"""One connection to PostgreSQL that comes back by itself; the tenants and ``ingest`` each hold one."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from enum import IntEnum
from types import TracebackType
from typing import Self

import asyncpg

from streams.backoff import delays
from streams.bugs import BugLog, foreseen
from streams.counters import Statistics
from streams.database.outages import ERRORS, PART, as_outage, describe, who_mends
from streams.database.refusals import IN_DOUBT, KEEPS_CONNECTION
from streams.errors import Bug, Outage
from streams.tasks import ended_well

CONNECT_TIMEOUT_S = 5.0
RENEW_S = 5.0
"""How soon a connection is made anew once more for a refusal that the last new one met as well."""
_numbers = itertools.count(1)


class Proof(IntEnum):
    """How much an answer proves: it ends the trouble that what proves as much, or less, has met.

    A server that answers a sign of life does not take rows for all that: a table may be missing.
    """

    LIFE = 1
    READY = 2
    WORK = 3


async def connect(database_url: str, *, timeout_s: float = 5.0) -> asyncpg.Connection:
    """Open one connection, in UTC, under our name.

    It prepares no statements by name: behind a pooler that lends its connections for a transaction
    (pgbouncer), the next one may be another, with another client's statements.

    Args:
        database_url: as asyncpg takes it.
        timeout_s: seconds for each command on the connection.
    """
    return await asyncpg.connect(
        database_url,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=timeout_s,
        statement_cache_size=0,
        server_settings={"application_name": "metric-streams", "TimeZone": "UTC"},
    )


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection for the block, as a command needs it.

    Raises:
        Outage: PostgreSQL does not answer, does not let us in, or fails what the block asks of it.
    """
    try:
        connection = await connect(database_url)
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)
    except ERRORS as error:
        raise as_outage(error) from error


async def is_pooled(connection: asyncpg.Connection) -> bool:
    """Tell whether a pooler answered our connecting: it cannot know yet which server's process will serve us.

    One that lends connections for a transaction (pgbouncer) loses what is kept in a session, LISTEN too.
    """
    serving: int = await connection.fetchval("select pg_backend_pid()")
    return serving != connection.get_server_pid()


class DatabaseSession:
    """Keeps one connection open: notices that it is gone, and reconnects with backoff.

    Args:
        database_url: as asyncpg takes it.
        statistics: told how ``postgres`` fares.
        on_connect: called with each new connection before anyone may use it.
        timeout_s: seconds for each command; also an attribute.
        ping_every_s: seconds of silence after which the server is asked for a sign of life, so that a
            connection that a network lost without a word is noticed too.
    """

    def __init__(
        self,
        database_url: str,
        statistics: Statistics,
        *,
        on_connect: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
        timeout_s: float = 5.0,
        ping_every_s: float = 15.0,
    ) -> None:
        self._database_url = database_url
        self._statistics = statistics
        self._on_connect = on_connect
        self.timeout_s = timeout_s
        self._ping_every_s = ping_every_s
        self._connection: asyncpg.Connection | None = None
        self._lost = asyncio.Event()
        self._attempted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._why = "not connected yet"
        self._who = f"session {next(_numbers)}"
        self._failed_at: Proof | None = None
        self._renewed_for = ""
        self._renewed_at_s = 0.0
        self._bugs = BugLog(
            "what keeps a connection to PostgreSQL", "It is tried again, as after an outage", statistics
        )
        statistics.expect(PART)

    async def start(self) -> None:
        """Try to connect once, then keep at it in the background. Never fails because PostgreSQL is away."""
        self._keeper = asyncio.create_task(self._keep_connected(), name="postgres session")
        # Whoever starts us may ask at once, and would else meet "not connected yet" although all is well.
        await self._attempted.wait()

    async def stop(self) -> None:
        """Close the connection."""
        if self._keeper is not None:
            await ended_well(self._keeper)
            self._keeper = None
            self._attempted.set()  # nobody tries any more, and nobody is to wait for it
        if self._connection is not None and not self._connection.is_closed():
            with suppress(*ERRORS):
                await self._connection.close(timeout=CONNECT_TIMEOUT_S)
        self._connection = None
        self._statistics.leave(PART, self._who)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @asynccontextmanager
    async def use(self, proof: Proof = Proof.WORK) -> AsyncIterator[asyncpg.Connection]:
        """Lend the connection to one task at a time; where it was just dropped, wait for one try at the next.

        Args:
            proof: how much it proves if what the block runs succeeds.

        Raises:
            Outage: there is no connection, or what the block ran on it failed.
        """
        await self._wait_for_turn()
        try:
            async with self._lend(proof) as connection:
                yield connection
        finally:
            self._lock.release()

    async def _wait_for_turn(self) -> None:
        """Take the lock: asyncpg refuses a second command while one is under way on the connection.

        Where the connection was just dropped, a try at the next one comes first: who met "the connection was
        lost" would else be told so though all is well. That is waited for without the lock, which the keeper
        may want for its sign of life before it tries.
        """
        while True:
            await self.renewed()
            await self._lock.acquire()
            if self._is_connected or self._attempted.is_set():
                return
            self._lock.release()  # dropped by who had it before us

    @property
    def _is_connected(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    @asynccontextmanager
    async def _lend(self, proof: Proof) -> AsyncIterator[asyncpg.Connection]:
        connection = self._connection
        if connection is None or connection.is_closed():
            raise Outage(PART, self._why)
        try:
            yield connection
        except Outage as outage:
            self._is_down(outage.detail, proof)
            raise
        except ERRORS as error:
            self._failed(connection, error, proof)
            raise as_outage(error) from error
        except asyncio.CancelledError:
            self._drop(connection)  # what it is in the middle of is unknown
            raise
        self._is_up(proof)

    async def renew(self) -> None:
        """Drop the connection and wait for the next one: the address leads to another server by now."""
        if self._connection is not None:
            self._drop(self._connection)
        await self.renewed()

    async def renewed(self) -> bool:
        """Wait for one try at the connection that takes a dropped one's place; tell whether it was made."""
        if self._is_connected:
            return False
        await self._attempted.wait()
        return self._is_connected

    def _failed(self, connection: asyncpg.Connection, error: BaseException, proof: Proof) -> None:
        # The server has said nothing, so the next sign of life ends the trouble.
        if not isinstance(error, asyncpg.PostgresError):
            proof = Proof.LIFE
        if self._must_renew(error):
            self._drop(connection)
        self._is_down(describe(error), proof)

    def _drop(self, connection: asyncpg.Connection) -> None:
        if connection is self._connection:  # else the next one is there already, and no try follows
            self._attempted.clear()
        connection.terminate()

    def _must_renew(self, error: BaseException) -> bool:
        """Tell whether to try a new connection: in doubt as well, but not for each of many rows."""
        who, now_s = who_mends(error), time.monotonic()
        if who not in IN_DOUBT:
            return who not in KEEPS_CONNECTION
        code = str(getattr(error, "sqlstate", ""))
        is_new = code != self._renewed_for or now_s - self._renewed_at_s >= RENEW_S
        if who in KEEPS_CONNECTION or not is_new:
            return False
        self._renewed_for, self._renewed_at_s = code, now_s
        return True

    async def _keep_connected(self) -> None:
        waits = delays()
        while True:
            try:
                with foreseen(*ERRORS):
                    await self._connect()
                    waits = delays()
                    await self._until_lost()
            except ERRORS as error:
                self._is_down(describe(error), Proof.LIFE)
                await asyncio.sleep(next(waits))
            except Bug as bug:
                # Else nobody would connect again, and all would look like an outage.
                self._bugs.note(bug)
                self._is_down("a bug, see the log", Proof.LIFE)
                await asyncio.sleep(next(waits))

    async def _connect(self) -> None:
        try:
            connection = await connect(self._database_url, timeout_s=self.timeout_s)
            with ExitStack() as unless_used:
                # One that cannot be used would stay open, and each try would leave another one behind.
                unless_used.callback(connection.terminate)
                self._lost.clear()
                # Before `on_connect`: the connection may be lost in that already.
                connection.add_termination_listener(self._on_lost)
                if self._on_connect is not None:
                    await self._on_connect(connection)
                if connection.is_closed():  # maybe before anybody listened for that
                    raise ConnectionResetError("the connection was lost as it was made")
                unless_used.pop_all()
            self._connection = connection
            # A connection alone proves no more: tables may be missing, or rows be refused.
            self._is_up(Proof.LIFE)
        finally:
            self._attempted.set()

    async def _until_lost(self) -> None:
        while not self._lost.is_set():
            try:
                await asyncio.wait_for(self._lost.wait(), self._ping_every_s)
            except TimeoutError:
                await self._ping()
        self._is_down("the connection was lost", Proof.LIFE)

    async def _ping(self) -> None:
        """Ask for a sign of life; a server that gives none loses the connection (in `_lend`)."""
        with suppress(Outage):
            # Not by `use`: that may wait for the next try to connect, which is ours to make.
            async with self._lock, self._lend(Proof.LIFE) as connection:
                await connection.execute("select 1")

    def _on_lost(self, _connection: object) -> None:
        self._lost.set()

    def _is_up(self, proof: Proof) -> None:
        if self._failed_at is None or proof >= self._failed_at:
            self._failed_at = None
            self._statistics.up(PART, self._who)

    def _is_down(self, why: str, proof: Proof) -> None:
        self._why = why
        self._failed_at = max(proof, self._failed_at or proof)
        self._statistics.down(PART, self._who, why)
