"""What asyncpg raises: who can mend it, how it is told, and the `Outage` that it is to those who wait."""

import asyncpg

from streams.database.refusals import IN_DOUBT, SqlMender, mender
from streams.errors import Outage, RowsDoubted
from streams.logs.plain import plain
from streams.tls import POSTGRES, tls_fault

PART = "postgres"
"""Its name on the readiness page."""

ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything that asyncpg and the sockets below it raise (a timeout and a name not found are OSErrors)."""

MENDS = {
    "42P01": "create the tables with: metric-streams setup --database, where no Laravel has made them",
    "42703": "a column is missing or has another name: metric-streams setup --database adds what is new",
    "42P10": "the table is not as in streams/database/schema.sql: its unique index is missing",
    "42883": "the table is not as in streams/database/schema.sql: is an id no uuid?",
    "42804": "the table is not as in streams/database/schema.sql: a column has another type",
    "3D000": "create the database, or name the right one in DATABASE_URL",
    "28P01": "look at user and password in DATABASE_URL",
    "28000": "look at user and password in DATABASE_URL, and at the server's pg_hba.conf",
    "42501": "grant the right to the user of DATABASE_URL; a row's policy may also be what refuses",
    "25006": "DATABASE_URL leads to a standby, or default_transaction_read_only is on",
    "53100": "free space on the server's disk",
    "53300": "raise the server's max_connections, or lower INGEST_CONCURRENCY",
}
"""What to do, by SQLSTATE."""


def who_mends(error: BaseException) -> SqlMender:
    """Return who can mend an error of `ERRORS`."""
    if isinstance(error, asyncpg.PostgresError):
        return mender(error.sqlstate or "")
    # asyncpg could not put a value into the column's type.
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return SqlMender.ROWS
    # A socket, a timeout, or asyncpg itself: whatever it was, the state of the connection is unknown.
    return SqlMender.CONNECTION


def describe(error: BaseException) -> str:
    """Return one line on an error of `ERRORS`, with its SQLSTATE, and with the mend where we know it.

    PostgreSQL's DETAIL, which is part of it, may hold what a device sent.
    """
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    sqlstate = (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
    notes = "; ".join(note for note in (sqlstate, MENDS.get(sqlstate)) if note)
    return plain(" ".join((f"{text} ({notes})" if notes else text).split()))


def as_outage(error: BaseException) -> Outage:
    """Return the `Outage` for an error of `ERRORS`; `RowsDoubted` where it may be about the rows."""
    if (fault := tls_fault(error, POSTGRES)) is not None:
        return Outage(PART, str(fault), seen=fault.seen, mend=fault.mend)
    kind = RowsDoubted if who_mends(error) in IN_DOUBT else Outage
    seen = plain(" ".join(f"{type(error).__name__}: {error}".rstrip(": ").split()))
    return kind(PART, describe(error), seen=seen, mend=MENDS.get(getattr(error, "sqlstate", None) or "", ""))
