"""Starts what the page asks of the rejected messages, each in a process of its own, and hears how it fares.

Between the page and `streams.dashboard.task`. Searches run side by side, but few of them; of what changes
something there is one at a time, and everyone who looks at the page sees how far it is.
"""

import asyncio
import logging
import sys
import time
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

import streams
from streams.dashboard.task import Order, Task
from streams.errors import MetricStreamsError
from streams.progress import OnProgress, quiet
from streams.settings import Settings
from streams.tasks import ended

log = logging.getLogger(__name__)

ROOT = Path(streams.__file__).parents[1]
CODE = "import sys; sys.path.insert(0, sys.argv[1]); from streams.dashboard.task import main; main()"
SEARCHES_AT_ONCE = 2
SEARCH_LIMIT_S = 60.0
LINE_BYTES = 16 * 1024 * 1024
STOP_LIMIT_S = 5.0
STOPPED = "stopped: what was done until then stays done"


class ChangeState(msgspec.Struct):
    """What the page shows of the last change."""

    does: str
    """``replay`` or ``dismiss``."""
    began_at: float
    """Unix time in seconds. The page knows one change from another by it, also after a restart."""
    progress: tuple[int, int] = (0, 0)
    """Records that were read, of how many."""
    is_over: bool = False
    done: dict[str, Any] | None = None
    error: str = ""


class Tasks:
    """The processes of one worker.

    Args:
        settings: handed on to them.

    Attributes:
        state: of the last change; None if there was none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = revealed(settings)
        self._searches = asyncio.Semaphore(SEARCHES_AT_ONCE)
        self._change: asyncio.Task[None] | None = None
        self._processes: set[Process] = set()
        self.state: ChangeState | None = None

    @property
    def is_changing(self) -> bool:
        """Whether a replay or a dismissal is under way."""
        return self._change is not None and not self._change.done()

    async def search(self, task: Task) -> dict[str, Any]:
        """List or count; return what was found.

        Raises:
            MetricStreamsError: why there is no answer.
        """
        async with self._searches:
            try:
                return await asyncio.wait_for(self._run(task), SEARCH_LIMIT_S)
            except TimeoutError:
                raise MetricStreamsError(
                    f"not done within {SEARCH_LIMIT_S:g} s: choose a shorter time"
                ) from None

    def change(self, task: Task) -> ChangeState:
        """Begin to replay or to dismiss; `state` tells how it fares.

        Raises:
            MetricStreamsError: another change is under way.
        """
        if self.is_changing:
            raise MetricStreamsError("another replay or dismissal is under way: wait for it, or stop it")
        self.state = ChangeState(task.does, time.time())
        self._change = asyncio.create_task(self._run_change(task, self.state), name=task.does)
        return self.state

    async def start(self) -> None:
        """Do nothing: a process starts when something is asked."""

    async def cancel(self) -> None:
        """End the change that is under way: what it has done stays done."""
        if self._change is not None:
            await ended(self._change, again_s=2 * STOP_LIMIT_S)
        if self.state is not None and not self.state.is_over:  # it had not even begun
            # Cancelled before its first step, a task does not run its own `finally`.
            self.state.error, self.state.is_over = STOPPED, True

    async def stop(self) -> None:
        """End everything."""
        await self.cancel()
        await asyncio.gather(*(_end(process) for process in list(self._processes)))

    async def _run_change(self, task: Task, state: ChangeState) -> None:
        def note(done: int, total: int) -> None:
            state.progress = done, total

        log.info("the dashboard was told to %s rejected messages: %s", task.does, task.chosen)
        try:
            state.done = await self._run(task, note)
        except MetricStreamsError as error:
            state.error = str(error)
        except asyncio.CancelledError:
            state.error = STOPPED
            raise
        finally:
            state.is_over = True
            log.info("the dashboard's %s has ended: %s", task.does, state.error or state.done)

    async def _run(self, task: Task, on_progress: OnProgress = quiet) -> dict[str, Any]:
        # -P: what lies in the working directory must not be imported in place of our packages.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", CODE, str(ROOT), stdin=PIPE, stdout=PIPE, limit=LINE_BYTES
        )
        self._processes.add(process)
        try:
            return await self._converse(process, task, on_progress)
        finally:
            self._processes.discard(process)
            await _end(process)

    async def _converse(self, process: Process, task: Task, on_progress: OnProgress) -> dict[str, Any]:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101 - see above
        # Through the pipe: the arguments and the environment of a process can be read by others.
        process.stdin.write(msgspec.json.encode(Order(self._settings, task)) + b"\n")
        await process.stdin.drain()
        while line := await process.stdout.readline():
            told = msgspec.json.decode(line)
            if "done" in told:
                done: dict[str, Any] = told["done"]
                return done
            if "error" in told:
                raise MetricStreamsError(told["error"])
            on_progress(*told["progress"])
        raise MetricStreamsError("the process that did it has ended without an answer: see the worker's log")


def revealed(settings: Settings) -> dict[str, Any]:
    """Return the settings with their secrets, as they are handed on through a pipe."""
    values = settings.model_dump()
    return {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
        for name, value in values.items()
    }


async def _end(process: Process) -> None:
    """End a process: it stops as soon as its stdin ends, or is killed."""
    if process.stdin is not None:
        # Its end tells the process to stop in good order, with its marks written.
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
