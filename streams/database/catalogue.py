"""What PostgreSQL's own catalogue says of the tables, read in one question; what follows from it is pure.

An application's tables need not be those of ``schema.sql``: ids may be ``char(36)``, and the table of metrics
partitioned or a hypertable, whose unique index then holds the column by which it is split.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import asyncpg
import msgspec

from streams.models import FIELDS

WRITTEN = {
    "metrics_raw": ("tenant_id", *FIELDS),
    "failed_jobs": ("uuid", "connection", "queue", "payload", "exception", "failed_at"),
}
"""The columns that ``ingest`` writes, by table."""

IDENTITY = ("tenant_id", "dedupe_id")
PRESENT = "(dedupe_id IS NOT NULL)"
"""The predicate of a partial index that holds every row with a dedupe id, as PostgreSQL words it."""
WRITABLE = {"r": "", "p": "", "v": ""}
KINDS = {"m": "a materialized view", "f": "a foreign table", "S": "a sequence", "i": "an index"}

SETUP = "create the tables with: metric-streams setup --database, where no Laravel has made them"
COLUMN_MEND = (
    "add it with: metric-streams setup --database, or where Laravel has made the table by a migration of the "
    "application"
)
IDENTITY_MEND = (
    "create unique index concurrently metrics_raw_tenant_id_dedupe_id_unique "
    "on metrics_raw (tenant_id, dedupe_id)"
)

READ = """
select json_object_agg(name, (
    select json_build_object(
        'kind', relation.relkind,
        'columns', (
            select json_object_agg(attname, json_build_object(
                'type', format_type(atttypid, null),
                'must_be_given', attnotnull and not atthasdef and attidentity = '' and attgenerated = ''
            ))
            from pg_attribute where attrelid = relation.oid and attnum > 0 and not attisdropped
        ),
        'unique', coalesce((
            select json_agg(json_build_object(
                'columns', (
                    select json_agg(attname order by attnum)
                    from pg_attribute
                    where attrelid = indrelid and attnum = any(indkey::int2[])
                        and array_position(indkey::int2[], attnum) < indnkeyatts
                ),
                'where', coalesce(pg_get_expr(indpred, indrelid), '')
            ) order by indnkeyatts, indexrelid)
            from pg_index
            where indrelid = relation.oid and indisunique and indisvalid and indimmediate and indexprs is null
        ), '[]')
    )
    from pg_class relation where relation.oid = to_regclass(name)
))::text
from unnest($1::text[]) name
"""


class Column(msgspec.Struct, frozen=True):
    """A column of a table."""

    type: str
    must_be_given: bool
    """It may not be null, and PostgreSQL fills it with nothing."""


class UniqueIndex(msgspec.Struct, frozen=True):
    """An index that can tell whether a row is there already."""

    columns: list[str]
    where: str = ""


class Table(msgspec.Struct, frozen=True):
    """A table, or what has its name."""

    kind: str
    """``pg_class.relkind``."""
    columns: dict[str, Column] | None
    unique: list[UniqueIndex]

    def type_of(self, column: str) -> str:
        """Return the type of a column; empty where there is none."""
        found = (self.columns or {}).get(column)
        return found.type if found else ""


Tables = Mapping[str, Table | None]
"""By name; None for what does not exist."""


async def read_tables(connection: asyncpg.Connection, *names: str) -> Tables:
    """Look up tables as the connection finds them, by its search path."""
    found = await connection.fetchval(READ, list(names))
    return msgspec.convert(json.loads(found), dict[str, Table | None])


def conflict_target(metrics: Table) -> str | None:
    """Return on which index an upsert recognizes a row; None if there is none for it.

    The smallest unique index over tenant and dedupe id, and such columns beside them as are written.
    """
    if metrics.kind == "v":
        return ", ".join(IDENTITY)  # a view has no index to see; PostgreSQL looks at that of its table
    fitting = [index for index in metrics.unique if _fits(index)]
    if not fitting:
        return None
    # The fewest columns: each further one lets the same id be a second row. Without a predicate if there is a
    # choice.
    best = min(fitting, key=lambda index: (len(index.columns), bool(index.where)))
    columns = ", ".join(f'"{column}"' for column in best.columns)
    return f"{columns}) where (dedupe_id is not null" if best.where else columns


def _fits(index: UniqueIndex) -> bool:
    columns = set(index.columns)
    return set(IDENTITY) <= columns <= {*WRITTEN["metrics_raw"]} and index.where in {"", PRESENT}


class SchemaFault(NamedTuple):
    """What ingest cannot work with."""

    seen: str
    mend: str

    def __str__(self) -> str:
        return f"{self.seen} ({self.mend})"


def problems(tables: Tables) -> list[str]:
    """Return a line for everything that ingest cannot work with, each with its mend."""
    return [str(fault) for fault in faults(tables)]


def faults(tables: Tables) -> list[SchemaFault]:
    """Return everything that ingest cannot work with."""
    found = [fault for name, table in tables.items() for fault in _faults_of(name, table)]
    metrics = tables.get("metrics_raw")
    if metrics is not None and metrics.kind in WRITABLE and conflict_target(metrics) is None:
        seen = (
            "metrics_raw has no unique index over tenant_id and dedupe_id, without which a job that is "
            "tried again doubles its rows"
        )
        found.append(SchemaFault(seen, IDENTITY_MEND))
    return found


def _faults_of(name: str, table: Table | None) -> Iterator[SchemaFault]:
    if table is None:
        yield SchemaFault(f"there is no table {name}", SETUP)
        return
    if table.kind not in WRITABLE:
        yield SchemaFault(
            f"{name} is {KINDS.get(table.kind, 'no table')}, which takes no rows", "make it a table"
        )
        return
    # Laravel's own default for an id. The question for tenants would fail with a type error that tells nobody
    # what to do.
    if name == "tenants" and table.type_of("id") in {"bigint", "integer", "smallint"}:
        yield SchemaFault(
            "tenants.id is a number, and topics name a tenant by its UUID", "is an id no uuid? rename it"
        )
    columns, written = table.columns or {}, WRITTEN.get(name, ("id",))
    for column in written:
        if column not in columns:
            yield SchemaFault(f'{name} has no column "{column}"', COLUMN_MEND)
    for column, what in columns.items():
        if name in WRITTEN and what.must_be_given and column not in written:
            yield SchemaFault(
                f'{name} wants a value for "{column}", which the job does not write',
                f'alter table {name} alter "{column}" set default, or drop not null',
            )


def notices(tables: Tables) -> Sequence[str]:
    """Return a line for everything that works in another way than on the tables of ``schema.sql``."""
    metrics = tables.get("metrics_raw")
    target = conflict_target(metrics) if metrics is not None else None
    more = [column for column in WRITTEN["metrics_raw"] if target and f'"{column}"' in target]
    more = [column for column in more if column not in IDENTITY]
    if not more:
        return []
    names = ", ".join(more)
    line = (
        f"the unique index of metrics_raw holds {names} beside tenant_id and dedupe_id: a dedupe id that "
        f"comes again with another {names} becomes a second row instead of replacing the first"
    )
    return [line]
