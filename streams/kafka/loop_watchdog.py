"""Ends a worker whose event loop has stopped turning: nothing on the loop itself could notice.

A plain thread asks the loop for a beat every second. It cannot see a loop that holds Python's lock for good
(an endless loop in C): no thread runs then.
"""

import asyncio
import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY_S = 1.0
REPORT_LIMIT_S = 10.0
STDERR = 2


class Silence:
    """Counts for how many seconds no beat came.

    A step is never longer than the thread sleeps, give or take: while the whole process was stopped (SIGSTOP,
    a suspended machine), its loop could not beat.
    """

    def __init__(self, every_s: float, now: float) -> None:
        self._longest_step_s = 2 * every_s
        self._last = now
        self.silent_s = 0.0

    def tick(self, now: float, *, beat: bool) -> None:
        """Take in whether there was a beat since the last call."""
        step_s, self._last = min(now - self._last, self._longest_step_s), now
        self.silent_s = 0.0 if beat else self.silent_s + step_s


class LoopWatchdog:
    """Watches the loop that it is started on.

    Args:
        limit_s: how long the loop may stand; 0 to watch nothing.
        end: called when it has stood for longer, in the guard's own thread.
        every_s: between two beats.
    """

    def __init__(
        self, limit_s: float, end: Callable[[float], None] | None = None, every_s: float = EVERY_S
    ) -> None:
        self._limit_s = limit_s
        self._end = end or end_frozen
        self._every_s = every_s
        self._stopped = threading.Event()
        self._beat = threading.Event()

    async def start(self) -> None:
        """Begin to watch the running loop."""
        if self._limit_s:
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._watch, args=[loop], name="frozen loop guard", daemon=True).start()

    async def stop(self) -> None:
        """Cease to watch."""
        self._stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat.set()
        silence = Silence(self._every_s, time.monotonic())
        while not self._stopped.wait(self._every_s):
            beat = self._beat.is_set()
            silence.tick(time.monotonic(), beat=beat)
            if silence.silent_s > self._limit_s:
                # In this thread: nothing that is given to the loop would run.
                self._end(silence.silent_s)
                return
            if beat and not self._ask_for_beat(loop):
                return

    def _ask_for_beat(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Ask; return whether there is still a loop to ask."""
        self._beat.clear()
        try:
            loop.call_soon_threadsafe(self._beat.set)
        except RuntimeError:  # the loop is closed
            return False
        return True


def end_frozen(silent_s: float) -> None:
    """End the process at once, with a line for the log and every thread's stack on stderr."""
    # In a thread of its own: the frozen one may hold the lock of the log, or stderr may be a full pipe.
    report = threading.Thread(target=_report, args=[silent_s], daemon=True)
    report.start()
    report.join(REPORT_LIMIT_S)
    # Not sys.exit, which ends only the thread that calls it.
    os._exit(os.EX_SOFTWARE)


def _report(silent_s: float) -> None:
    log.critical(
        "the event loop was blocked for %.0f s, so this worker ends at once, for its supervisor to start it "
        "again. The next worker reads the unfinished records again. The stacks on stderr show what blocked "
        "it; WATCHDOG_LIMIT_S sets the limit",
        silent_s,
    )
    # By number: Faust has put its log in the place of sys.stderr.
    faulthandler.dump_traceback(STDERR, all_threads=True)
