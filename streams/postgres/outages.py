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

# Undefined table, column or function, and a database that does not exist.
NOT_SET_UP = ("42P01", "42703", "42883", "3D000")


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
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in NOT_SET_UP:
        text += " (create the tables with: metric-streams setup --database)"
    return " ".join(text.split())


def as_outage(error: BaseException) -> Outage:
    """Return the `Outage` for an error of `ERRORS`."""
    return Outage(PART, describe(error))
