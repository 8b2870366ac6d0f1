"""Who can mend what PostgreSQL refuses, by SQLSTATE. Pure; used by ``ingest`` and by the tenants.

The world of errors is open: extensions, triggers, proxies and later versions have codes of their own. What
the table does not hold is `UNKNOWN`, and tried in this order: a new connection, then fewer rows, then later.
"""

from enum import Enum, auto


class SqlMender(Enum):
    """Who can mend a refusal."""

    ROWS = auto()
    """Whoever made the job: the same rows would be refused again by a server that is well."""
    LOCK = auto()
    """Whoever holds a lock, or won against us: the same rows will be taken later."""
    SIZE = auto()
    """We, with fewer rows at once: there was no time, or no room, for so many."""
    CONNECTION = auto()
    """We, with a new connection: this one is over, or in a state that it does not leave by itself."""
    SERVER = auto()
    """Time, or the server's operator: it takes nothing from anybody now."""
    SETTINGS = auto()
    """Whoever set up the database, its tables and rights, or DATABASE_URL."""
    UNKNOWN = auto()


# PostgreSQL, appendix A. A code of its own stands before its class.
MENDERS = {
    "21": SqlMender.ROWS,  # cardinality violation
    "22": SqlMender.ROWS,  # data exception
    "23": SqlMender.ROWS,  # integrity constraint violation
    "44": SqlMender.ROWS,  # a view's check option
    "P0": SqlMender.ROWS,  # an exception raised by a trigger
    "55P03": SqlMender.LOCK,  # lock not available
    "40": SqlMender.LOCK,  # deadlock, serialization failure
    "57014": SqlMender.SIZE,  # statement timeout
    "53200": SqlMender.SIZE,  # out of memory
    "53400": SqlMender.SIZE,  # a configured limit, such as temp_file_limit
    "54": SqlMender.SIZE,  # too large, too complex
    "08": SqlMender.CONNECTION,  # the protocol; also what pgbouncer says itself
    "24": SqlMender.CONNECTION,  # a cursor's state
    "25": SqlMender.CONNECTION,  # a transaction's state; 25006 is read-only
    "26": SqlMender.CONNECTION,  # a prepared statement that is not there
    "2D": SqlMender.CONNECTION,  # a transaction cannot end here
    "3B": SqlMender.CONNECTION,  # a savepoint that is not there
    "42P05": SqlMender.CONNECTION,  # a prepared statement that is there already
    "57": SqlMender.CONNECTION,  # an administrator ended it, the server restarts
    "53": SqlMender.SERVER,  # disk full, too many connections
    "28": SqlMender.SETTINGS,  # user, password, pg_hba.conf
    "3D": SqlMender.SETTINGS,  # no such database
    "3F": SqlMender.SETTINGS,  # no such schema
    "42": SqlMender.SETTINGS,  # no such table or column, no right
}

KEEPS_CONNECTION = {SqlMender.ROWS, SqlMender.LOCK, SqlMender.SIZE}
"""After these the connection is as good as before."""

IN_DOUBT = {SqlMender.SIZE, SqlMender.SETTINGS, SqlMender.UNKNOWN}
"""These may be about one job alone: a trigger's missing table, a row's policy, a chunk that is compressed."""


def mender(sqlstate: str) -> SqlMender:
    """Return who can mend a refusal.

    >>> mender("22001"), mender("25006"), mender("XX000")
    (<SqlMender.ROWS: 1>, <SqlMender.CONNECTION: 4>, <SqlMender.UNKNOWN: 7>)
    """
    return MENDERS.get(sqlstate) or MENDERS.get(sqlstate[:2]) or SqlMender.UNKNOWN
