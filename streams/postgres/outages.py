"""Tells a PostgreSQL that is away, or not set up yet, from rows that it will never take."""

import asyncpg

from streams.errors import Outage

PART = "postgres"
"""Its name on the readiness page."""

ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything that asyncpg and the sockets below it raise (a timeout and a name not found are OSErrors)."""

# Classes of SQLSTATE (PostgreSQL, appendix A) that blame the data: cardinality violation, data exception,
# integrity constraint violation, an exception raised by a trigger, a view's check option.
BAD_DATA_CLASSES = ("21", "22", "23", "P0", "44")

MENDS = {
    "42P01": "create the tables with: metric-streams setup --database, where no Laravel has made them",
    "42703": "the table is not as in streams/postgres/schema.sql: a column is missing or has another name",
    "42P10": "the table is not as in streams/postgres/schema.sql: its unique index is missing",
    "42883": "the table is not as in streams/postgres/schema.sql: is an id no uuid?",
    "42804": "the table is not as in streams/postgres/schema.sql: a column has another type",
    "3D000": "create the database, or name the right one in DATABASE_URL",
    "28P01": "look at user and password in DATABASE_URL",
    "28000": "look at user and password in DATABASE_URL, and at the server's pg_hba.conf",
    "42501": "grant the right to the user of DATABASE_URL",
}
"""What to do, by SQLSTATE."""


def blames_data(error: BaseException) -> bool:
    """Tell whether the same statement with the same values would fail again on a healthy server."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(BAD_DATA_CLASSES)
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def breaks_connection(error: BaseException) -> bool:
    """Tell whether the connection's state is unknown after `error`, so that it must be closed."""
    return not isinstance(error, asyncpg.PostgresError)


def describe(error: BaseException) -> str:
    """Return one line on an error of `ERRORS`, with the mend where we know it."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    mend = MENDS.get(error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else None
    return " ".join(f"{text} ({mend})".split()) if mend else " ".join(text.split())


def as_outage(error: BaseException) -> Outage:
    """Return the `Outage` for an error of `ERRORS`."""
    return Outage(PART, describe(error))
