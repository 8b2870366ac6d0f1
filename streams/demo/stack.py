"""Starts the parts of the stack, notices when one dies, and stops them: first those that use the others."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import streams
from streams.demo.child import Child, PartFailed
from streams.demo.part import Part
from streams.demo.programs import is_passable
from streams.demo.reaper import Reaper
from streams.settings import Settings
from streams.tasks import ended

ROOT = Path(streams.__file__).parents[1]
"""Where the project's packages are, installed or in a checkout."""

POLL_S = 0.05
SET_UP_TIMEOUT_S = 60.0
DEATH_GRACE_S = 1.0

T = TypeVar("T")


class Stack:
    """The processes that run, in a temporary directory.

    A context manager: leaving stops them all, and removes the directory unless something failed.

    Args:
        tell: called with a line about each part that has started.

    Attributes:
        directory: everything that the stack writes.
        failed: whether a part died or had to be killed: then the logs are kept.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.failed = False
        self._tell = tell
        self._running: dict[Part, Child] = {}

    async def __aenter__(self) -> Self:
        self._died: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        try:
            self.directory = Path(tempfile.mkdtemp(prefix="metric-streams-", dir=temporary_directory()))
            self.directory.chmod(0o711)  # a part that runs as another user must pass through
        except OSError as error:
            raise PartFailed(
                f"no directory can be made for the parts ({error}); set TMPDIR to one that you may write to"
            ) from error
        # So that nothing of theirs is left when the directory goes.
        self._environment = inherited_environment() | {"TMPDIR": str(self.directory)}
        self._reaper = Reaper(self.directory).__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            if self.failed or isinstance(error, PartFailed):
                self._reaper.keep_directory()
                self._tell(f"The logs are kept in {self.directory}")
            self._reaper.__exit__(kind, error, trace)

    async def start_together(self, *starts: Coroutine[Any, Any, None]) -> None:
        """Run several starts at once, and return once all are over.

        Raises:
            PartFailed: as soon as one fails; the others are cancelled.
        """
        tasks = [asyncio.ensure_future(start) for start in starts]
        try:
            await asyncio.gather(*tasks)
        finally:
            await ended(*tasks)

    async def start(self, part: Part) -> None:
        """Start a part and return once it is ready.

        Raises:
            PartFailed: if it ends, or is not ready in time.
        """
        began = time.monotonic()
        try:
            part.prepare()
        except OSError as error:
            raise PartFailed(f"{part.name} cannot write its files: {error}") from error
        await self._set_up(part)
        child = self._child(part, part.argv())
        await child.start(self._reaper)
        self._running[part] = child
        await self._until_ready(part, child)
        # Only once it is ready: until then its end is told by the start itself.
        child.ended.add_done_callback(lambda _: self._notice_end(part, child))
        self._tell(f"  {part.name:10} {time.monotonic() - began:5.1f} s   {part.origin}")

    async def stop(self, *which: Part) -> None:
        """Stop these parts, or all that run; servers only once nothing uses them any more."""
        running = [part for part in self._running if not which or part in which]
        for uses_others in (True, False):
            # Clients first: a server that goes before them would show as an outage in their logs.
            await asyncio.gather(*(self._stop(part) for part in running if part.uses_others is uses_others))

    async def _stop(self, part: Part) -> None:
        child = self._running.pop(part)
        if not await child.stop(part.stop_signal, part.stop_timeout_s):
            self.failed = True
            self._tell(f"{part.name} did not stop within {part.stop_timeout_s:g} s and was killed")

    async def unless_a_part_dies(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work while all parts that were ready run.

        Raises:
            PartFailed: as soon as one ends; the work is cancelled.
        """
        task = asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {task, self._died}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled() and task.exception():
                # A client often notices a death before we do; what matters is the death.
                await asyncio.wait({self._died}, timeout=DEATH_GRACE_S)
            if self._died.done():
                child = self._died.result()
                raise child.failure(child.end)
            return await task
        finally:
            task.cancel()

    def _notice_end(self, part: Part, child: Child) -> None:
        """Note that a part has ended which nobody stopped."""
        if self._running.get(part) is child and not self._died.done():
            self._died.set_result(child)

    async def _set_up(self, part: Part) -> None:
        argv = part.set_up_argv()
        if argv is None:
            return
        child = self._child(part, argv)
        await child.start(self._reaper)
        await asyncio.wait([child.ended], timeout=SET_UP_TIMEOUT_S)
        await child.stop(part.stop_signal, part.stop_timeout_s)
        if child.ended.result():
            raise child.failure(f"was not set up, {Path(argv[0]).name} ended with {child.ended.result()}")

    async def _until_ready(self, part: Part, child: Child) -> None:
        deadline = time.monotonic() + part.start_timeout_s
        while not await part.is_ready():
            # Looked at each time: a program that has ended would else be waited for until the limit.
            if child.ended.done():
                raise child.failure(f"{child.end} while it started")
            if time.monotonic() > deadline:
                raise child.failure(f"was not ready after {part.start_timeout_s:g} s")
            await asyncio.sleep(POLL_S)

    def _child(self, part: Part, argv: list[str]) -> Child:
        return Child(
            part.name,
            argv,
            directory=part.directory,
            log_path=self.log_path(part.name),
            environment={**self._environment, **part.environment()},
            user=part.user,
        )

    def log_path(self, name: str) -> Path:
        """Return where a part's log is."""
        return self.directory / f"{name}.log"


def temporary_directory() -> Path:
    """Return where to make our directory: TMPDIR, unless we are root and another user could not get there."""
    usual = Path(tempfile.gettempdir())
    if os.geteuid() != 0:
        return usual
    candidates = (usual, Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - mkdtemp makes a directory of our own
    return next((each for each in candidates if each.is_dir() and is_passable(each)), usual)


def inherited_environment() -> dict[str, str]:
    """Return our environment, for Python processes that need the project's packages, installed or not.

    Without settings of the project: those of the stack are its own.
    """
    ours = {name.upper() for name in Settings.model_fields}
    # A setting that happens to be exported would lead a part of the demonstration to a real server.
    inherited = {key: value for key, value in os.environ.items() if key.removesuffix("_FILE") not in ours}
    python_path = [str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {"PYTHONPATH": os.pathsep.join(python_path)}
