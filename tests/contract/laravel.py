"""The application's side of the queue: a real Laravel, driven from tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.parts.php import Php

_APPLICATION = Path(__file__).with_name("application.php")


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

    def migrate(self) -> None:
        """Create the application's tables."""
        self._run("migrate")

    def add_tenant(self, tenant_id: str) -> None:
        """Add a tenant."""
        self._run("tenant", tenant_id)

    def dispatch(self, tenant_id: str, metrics: Sequence[Mapping[str, Any]]) -> None:
        """Dispatch the ingestion job."""
        self._run("dispatch", standard_input=json.dumps({"tenant": tenant_id, "metrics": metrics}))

    def dispatch_other(self) -> None:
        """Dispatch a job of another class."""
        self._run("dispatch-other")

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
        self._run("work", str(jobs), now=now)

    def reserve(self, *, now: float | None = None) -> None:
        """Take the next job and die in the middle of it."""
        self._run("reserve", now=now)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics_raw, as Laravel reads them."""
        rows: list[dict[str, Any]] = json.loads(self._run("rows"))
        return rows

    def _run(self, *arguments: str, standard_input: str = "", now: float | None = None) -> str:
        env = self._env if now is None else {**self._env, "NOW": str(int(now))}
        return self._php.run(_APPLICATION, *arguments, standard_input=standard_input, env=env)


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
