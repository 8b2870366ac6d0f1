"""What a real PostgreSQL quotes of a device's words, or a command shows of them, forges no line."""

import os
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from redis import Redis

from streams.database.schema import ensure_tables
from streams.laravel.job import JobMetric, encode_job
from tests.parts.commands import call
from tests.parts.postgres import Postgres

HOSTILE = "\x1b[2J\x9b1m\r\n2026-11-25 CRITICAL forged\u202e\u2066\u2028\x85"
SHOWN = r"\x1b[2J\x9b1m\r\n2026-11-25 CRITICAL forged\u202e\u2066\u2028\x85"
QUOTED = [r"\x1b[2J\x9b1m", r"2026-11-25 CRITICAL forged\u202e\u2066"]
"""Of what PostgreSQL says the lines are joined to one, by blanks."""
OBEYED = set(HOSTILE) - set("2026-11-25 CRITICAL forged[2J1m\n")

Execute = Callable[[str], str]


@pytest.fixture
async def environment(database_url: str, redis_url: str, unique: str) -> dict[str, str]:
    await ensure_tables(database_url)
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "QUEUE_PREFIX": f"{unique}_"}


@pytest.fixture
def execute(environment: dict[str, str], postgres: Postgres) -> Execute:
    return lambda statement: postgres.execute(statement, urlsplit(environment["DATABASE_URL"]).path[1:])


def _push(environment: dict[str, str], tenant_id: str, metric: JobMetric) -> None:
    with Redis.from_url(environment["REDIS_URL"]) as redis:
        job = encode_job(tenant_id, [metric], "u", "i" * 32)
        redis.rpush(f"{environment['QUEUE_PREFIX']}queues:default", job)


REFUSALS = {
    "a check, whose DETAIL quotes the row": "alter table metrics_raw add check (value < 0)",
    "an index, whose DETAIL quotes the key": "create unique index on metrics_raw (value, dedupe_id)",
    "a trigger, whose message quotes the id": (
        "create function refuse() returns trigger language plpgsql as "
        "$$ begin raise exception 'refused: %', new.dedupe_id; end $$; "
        "create trigger refuses before insert on metrics_raw for each row execute function refuse()"
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_postgresql_says_of_a_row_forges_no_line_of_the_log(
    environment: dict[str, str], execute: Execute, kind: str
) -> None:
    execute(REFUSALS[kind])
    tenant_id, other = str(uuid.uuid4()), str(uuid.uuid4())
    execute(f"insert into tenants (id, name) values ('{tenant_id}', 'one'), ('{other}', 'two')")  # noqa: S608 - UUIDs
    metric = JobMetric(
        agent_id="edge-7",
        metric_name="cpu",
        value=1.5,
        timestamp="2026-11-23 14:00:00.123456",
        dedupe_id=HOSTILE,
    )
    _push(environment, other, metric)
    _push(environment, tenant_id, metric)
    done = call("metric-streams", "ingest", "--until-empty", INGEST_WAIT_LIMIT_S="1", **environment)
    _is_plain(done.stdout + done.stderr)
    # The lines of what PostgreSQL says are joined; the rest is shown as escapes.
    assert kind.startswith("a trigger") or all(part in done.stderr for part in QUOTED)


def test_the_name_of_a_tenant_moves_no_cursor_of_who_lists_them(environment: dict[str, str]) -> None:
    added = call("metric-streams", "tenants", "add", HOSTILE, **environment)
    listed = call("metric-streams", "tenants", "list", **environment)
    for done in (added, listed):
        assert done.returncode == os.EX_OK, done.stderr
        _is_plain(done.stdout + done.stderr)
        assert SHOWN in done.stdout


def test_an_error_that_quotes_the_command_line_is_one_line(environment: dict[str, str]) -> None:
    done = call("metric-streams", "tenants", "remove", HOSTILE, **environment)
    assert done.returncode
    _is_plain(done.stderr)


def _is_plain(output: str) -> None:
    assert not OBEYED & set(output), output
    assert not [line for line in output.splitlines() if line.startswith("2026-11-25 CRITICAL")]
