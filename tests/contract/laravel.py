"""The application's side of the queue: a real Laravel, driven from tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.parts.mariadb import MariaDb
from tests.parts.php import Php, PhpScript

TENANT = "11111111-1111-4111-8111-111111111111"
"""The application's tenant, where a test says nothing else."""

_APPLICATION = Path(__file__).with_name("application.php")


class Tables(NamedTuple):
    """What the job leaves in the database."""

    rows: list[dict[str, Any]]
    """Of metrics_raw, without their ids, oldest first."""
    failed: list[dict[str, str]]
    """Of failed_jobs, without id and time, oldest first."""


class Laravel:
    """Laravel's own queue worker, dispatcher and database layer on a Redis and a database of the test's.

    Args:
        php: the interpreter.
        redis_url: the queue's.
        database: a connection of Laravel's ``config/database.php``.
        prefix: before all keys and channels.
        queue: the queue's name.
        retry_after_s: seconds until a reserved job is taken again.
    """

    def __init__(
        self,
        php: Php,
        redis_url: str,
        database: Mapping[str, Any],
        *,
        prefix: str,
        queue: str = "default",
        retry_after_s: int = 90,
    ) -> None:
        redis = urlsplit(redis_url)
        self._php = php
        self._env = {
            "REDIS_HOST": str(redis.hostname),
            "REDIS_PORT": str(redis.port),
            "REDIS_DATABASE": redis.path.strip("/") or "0",
            "QUEUE_PREFIX": prefix,
            "QUEUE_NAME": queue,
            "QUEUE_RETRY_AFTER_S": str(retry_after_s),
            "DATABASE": json.dumps(database),
        }
        self._script: PhpScript | None = None

    def migrate(self, tenant_id: str | None = None) -> None:
        """Create the application's tables, and a tenant where one is named."""
        self._act("migrate", tenant_id)

    def execute(self, statement: str) -> None:
        """Run an SQL statement."""
        self._act("execute", statement)

    def dispatch(self, tenant_id: str, metrics: Sequence[Mapping[str, Any]]) -> None:
        """Dispatch the ingestion job."""
        self._act("dispatch", {"tenant": tenant_id, "metrics": metrics})

    def dispatch_other(self) -> None:
        """Dispatch a job of another class."""
        self._act("dispatch-other")

    @property
    def environment(self) -> dict[str, str]:
        """What a PHP process of the application must find in its environment."""
        return dict(self._env)

    def work(self, jobs: int = 1, *, now: float | None = None) -> None:
        """Let Laravel's worker run the next jobs.

        Args:
            jobs: how many.
            now: the Unix time that the worker believes in; default: the true one.
        """
        self._act("work", jobs, now)

    def reserve(self, *, now: float | None = None) -> None:
        """Take the next job and die in the middle of it."""
        self._running().send("reserve", None, now)
        self.close()

    def tables(self) -> Tables:
        """Return what is in the tables, as Laravel reads them."""
        return Tables(**self._act("tables"))

    def close(self) -> None:
        """Let its process end; the next call starts another one."""
        if self._script is not None:
            self._script.close()
            self._script = None

    def _act(self, action: str, argument: object = None, now: float | None = None) -> Any:
        script = self._running()
        script.send(action, argument, now)
        return script.answer()

    def _running(self) -> PhpScript:
        if self._script is None:
            self._script = PhpScript(self._php, _APPLICATION, self._env)
        return self._script


def postgres_connection(url: str) -> dict[str, Any]:
    """Return Laravel's configuration of a PostgreSQL database."""
    parts = urlsplit(url)
    return {
        "driver": "pgsql",
        "host": parts.hostname,
        "port": parts.port,
        "database": parts.path.strip("/"),
        "username": parts.username,
        "password": parts.password or "",
        "charset": "utf8",
        "prefix": "",
        "schema": "public",
    }


def sqlite_connection(path: Path) -> dict[str, Any]:
    """Return Laravel's configuration of an SQLite database; the file is made if it is missing."""
    path.touch()
    return {"driver": "sqlite", "database": str(path), "prefix": "", "foreign_key_constraints": True}


def mariadb_connection(server: MariaDb, database: str) -> dict[str, Any]:
    """Return Laravel's configuration of a MariaDB database: as its skeleton has it, strict."""
    return {
        "driver": "mysql",
        "host": server.host,
        "port": server.port,
        "database": database,
        "username": "root",
        "password": "",
        "charset": "utf8mb4",
        "collation": "utf8mb4_unicode_ci",
        "prefix": "",
        "strict": True,
    }
