"""The worker or ingest as an operator starts it, but mortal: ``python -m tests.faults.killable worker …``.

Where METRIC_STREAMS_DEATH_ROW names a directory, the process looks there whenever it passes one of the
points below; if a file of the point's name is there, it notes its death in ``hits`` and ends as SIGKILL
would end it. Whoever comes first takes the file away.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

DEATH_ROW = "METRIC_STREAMS_DEATH_ROW"


class Point(StrEnum):
    """Where a process may be made to die; each lies between an effect and what tells others of it."""

    WRITTEN = "ingress-written-not-acknowledged"
    RECORDED = "refine-recorded-not-emitted"
    BETWEEN = "refine-between-the-emissions"
    EMITTED = "refine-emitted-not-acknowledged"
    PUSHED = "handoff-pushed-not-acknowledged"
    COMMITTED = "ingest-committed-not-deleted"


class DeathRow:
    """The directory in which a storm asks for a death."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hits = directory / "hits"

    def ask(self, point: Point) -> None:
        """Let the next process that passes a point die there."""
        (self._directory / point).touch()

    def withdraw(self, point: Point) -> bool:
        """Take that back; return False if somebody died of it."""
        try:
            (self._directory / point).unlink()
        except FileNotFoundError:
            return False
        return True

    def deaths(self) -> list[str]:
        """Return the points at which processes have died, in order."""
        return self._hits.read_text().split() if self._hits.exists() else []

    def is_asked_for(self, point: Point) -> bool:
        """Tell whether somebody is to die at a point."""
        return (self._directory / point).exists()

    def passed(self, point: Point) -> None:
        """Die, if that is asked for."""
        if not self.is_asked_for(point):
            return
        with contextlib.suppress(FileNotFoundError):
            (self._directory / point).rename(self._directory / f"{point}.{os.getpid()}")
            with self._hits.open("a") as hits:
                hits.write(f"{point}\n")
            os.kill(os.getpid(), signal.SIGKILL)


def install(death_row: DeathRow) -> None:
    """Put the points into the code."""
    from agents import refine  # noqa: PLC0415 - what a test of the points alone does without
    from streams.ingest.store import PostgresStore  # noqa: PLC0415
    from streams.ingress.flow import Flow  # noqa: PLC0415
    from streams.laravel.push import RedisJobQueue  # noqa: PLC0415
    from tables.seen import SeenTable  # noqa: PLC0415

    _before(Flow, "_durable", Point.WRITTEN, death_row)
    _after(SeenTable, "record", Point.RECORDED, death_row)
    _after(refine.Refinery, "refine", Point.EMITTED, death_row)
    _after(RedisJobQueue, "push", Point.PUSHED, death_row)
    _after(PostgresStore, "write", Point.COMMITTED, death_row)
    _between_emissions(refine, death_row)


def _before(owner: type, name: str, point: Point, death_row: DeathRow) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def patched(*args: Any, **kwargs: Any) -> Any:
        death_row.passed(point)
        return original(*args, **kwargs)

    setattr(owner, name, patched)


def _after(owner: type, name: str, point: Point, death_row: DeathRow) -> None:
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @wraps(original)
    async def patched(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        death_row.passed(point)
        return result

    setattr(owner, name, patched)


def _between_emissions(refine: ModuleType, death_row: DeathRow) -> None:
    """Where records are emitted together: when Kafka has the first and before it has the others."""
    deliver: Callable[..., Awaitable[Any]] = refine.deliver

    @wraps(deliver)
    async def passing(app: Any, records: Sequence[Any]) -> Any:
        if len(records) > 1 and death_row.is_asked_for(Point.BETWEEN):
            await deliver(app, records[:1])
            death_row.passed(Point.BETWEEN)
        return await deliver(app, records)

    refine.deliver = passing  # type: ignore[attr-defined] # which the agent is built with


def main() -> None:
    """Turn into Faust's command line."""
    directory = os.environ.get(DEATH_ROW)
    if directory:
        install(DeathRow(Path(directory)))
    from faust.cli.faust import cli  # noqa: PLC0415 - after the app, as its own -A would have it

    sys.argv[:] = ["faust", "-A", "streams", *sys.argv[1:]]  # in place: Faust holds this very list
    cli()


if __name__ == "__main__":
    main()
