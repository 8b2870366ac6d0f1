"""Whatever PostgreSQL refuses, somebody is found who can mend it."""

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.database.catalogue import Column, Table, UniqueIndex, conflict_target, notices, problems
from streams.database.outages import as_outage, describe, who_mends
from streams.database.refusals import KEEPS_CONNECTION, SqlMender, mender
from streams.errors import Outage, RowsDoubted

KNOWN = {
    "22001": SqlMender.ROWS,
    "23503": SqlMender.ROWS,
    "P0001": SqlMender.ROWS,
    "55P03": SqlMender.LOCK,
    "40P01": SqlMender.LOCK,
    "40001": SqlMender.LOCK,
    "57014": SqlMender.SIZE,
    "53200": SqlMender.SIZE,
    "54000": SqlMender.SIZE,
    "25006": SqlMender.CONNECTION,
    "25P03": SqlMender.CONNECTION,
    "26000": SqlMender.CONNECTION,
    "42P05": SqlMender.CONNECTION,
    "57P01": SqlMender.CONNECTION,
    "08006": SqlMender.CONNECTION,
    "53100": SqlMender.SERVER,
    "53300": SqlMender.SERVER,
    "42P01": SqlMender.SETTINGS,
    "42501": SqlMender.SETTINGS,
    "0A000": SqlMender.UNKNOWN,
    "55000": SqlMender.UNKNOWN,
    "XX000": SqlMender.UNKNOWN,
    "": SqlMender.UNKNOWN,
}


@pytest.mark.parametrize("sqlstate", KNOWN)
def test_each_is_sorted_by_who_can_mend_it(sqlstate: str) -> None:
    assert mender(sqlstate) is KNOWN[sqlstate]


@given(st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=5, max_size=5))
def test_what_nobody_has_heard_of_is_first_tried_on_a_new_connection(sqlstate: str) -> None:
    who = mender(sqlstate)
    assert who is not SqlMender.UNKNOWN or who not in KEEPS_CONNECTION


@pytest.mark.parametrize("sqlstate", ["0A000", "57014", "42501"])
def test_what_may_be_one_jobs_is_told_apart_from_a_server_that_is_away(sqlstate: str) -> None:
    error = asyncpg.PostgresError.new({"C": sqlstate, "M": "not this one"})
    assert isinstance(as_outage(error), RowsDoubted)
    assert sqlstate in describe(error)


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError("gone"), asyncpg.InterfaceError("x")])
def test_what_comes_from_no_server_ends_the_connection(error: Exception) -> None:
    assert who_mends(error) is SqlMender.CONNECTION
    assert type(as_outage(error)) is Outage


def metrics(*unique: UniqueIndex, **more: Column) -> Table:
    names = ("tenant_id", "agent_id", "metric_name", "value", "timestamp", "dedupe_id")
    columns = {name: Column("text", must_be_given=False) for name in names}
    return Table("r", {**columns, **more}, list(unique))


def test_of_several_unique_indexes_the_narrowest_tells_a_row() -> None:
    wide = UniqueIndex(["tenant_id", "dedupe_id", "timestamp"])
    narrow = UniqueIndex(["dedupe_id", "tenant_id"])
    assert conflict_target(metrics(wide, narrow)) == '"dedupe_id", "tenant_id"'
    assert notices({"metrics_raw": metrics(wide, narrow)}) == []
    assert len(notices({"metrics_raw": metrics(wide)})) == 1


def test_every_problem_is_told_at_once_each_with_its_mend() -> None:
    table = metrics(unit=Column("text", must_be_given=True))
    lines = problems({"tenants": None, "metrics_raw": table})
    assert len(lines) == 3
    assert all("(" in line and "\n" not in line for line in lines)
