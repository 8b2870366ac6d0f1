"""The ways from a metric to its row: who pushes the job, who works it, and into which database."""

from typing import NamedTuple

import pytest


class Way(NamedTuple):
    """A way from a metric to its row."""

    pusher: str
    """laravel or handoff."""
    worker: str
    """laravel, ingest, or both in turn."""
    database: str
    """postgres, sqlite or mariadb; ingest writes to the first alone."""

    def __str__(self) -> str:
        return "-".join(self)


REFERENCE = Way("laravel", "laravel", "postgres")
"""Where nothing of ours takes part: what happens there is right."""
WAYS = [
    Way(pusher, worker, database)
    for worker, database in [
        ("laravel", "postgres"),
        ("laravel", "sqlite"),
        ("laravel", "mariadb"),
        ("ingest", "postgres"),
        ("both", "postgres"),
    ]
    for pusher in ("laravel", "handoff")
]

every_way = pytest.mark.parametrize("way", WAYS, ids=str)
from_laravel = pytest.mark.parametrize("way", [way for way in WAYS if way.pusher == "laravel"], ids=str)
"""For what an application may dispatch and handoff never pushes."""
from_handoff = pytest.mark.parametrize("way", [way for way in WAYS if way.pusher == "handoff"], ids=str)
