"""How long this process may go on with what it holds: not after it stood still for as long as a lease runs.

A process that is frozen (SIGSTOP, a suspended machine) does not know it. When it goes on, another one may
have taken its place long ago. Kafka's group gives a member up that was silent for its session timeout; so
a process that stood still for nearly as long drops what it has not written.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from streams.errors import LeaseLapsed

log = logging.getLogger(__name__)

EVERY_S = 1.0


def since_boot() -> float:
    """Return seconds by a clock that goes on while the machine is suspended, where there is one."""
    # CLOCK_MONOTONIC stands still meanwhile (clock_gettime(2)); other systems than Linux have no such clock.
    number = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if number is None else time.clock_gettime(number)


class Lease:
    """Lapses when nobody has asked for it in a while, since that shows that the event loop stood still.

    Whatever runs first when the loop goes on must find that out by itself: callbacks of sockets run before
    timers do. So each `check` compares the time with the one before, and once lapsed it stays so until
    `begin`.

    Args:
        lasts_s: how long the loop may stand still.
        clock: returns seconds.
    """

    def __init__(self, lasts_s: float, clock: Callable[[], float] = since_boot) -> None:
        self._lasts_s = lasts_s
        self._clock = clock
        self._checked_at = clock()
        self._stood_s = 0.0

    def begin(self) -> None:
        """Begin anew; to be followed by a proof that nobody else has taken over."""
        self._checked_at, self._stood_s = self._clock(), 0.0

    def check(self) -> None:
        """Return if the loop has turned all the while.

        Raises:
            LeaseLapsed: if it stood still, now or at some time since `begin`.
        """
        now = self._clock()
        stood_s, self._checked_at = now - self._checked_at, now
        if stood_s > self._lasts_s:
            self._stood_s = stood_s
            log.warning(
                "this process stood still for %.1f s, so another worker may lead by now. Ingress drops what "
                "it has not written; the MQTT broker delivers messages at QoS 1 and 2 again, to the leader. "
                "See what keeps the machine busy, or raise CONSUMER_SESSION_S",
                stood_s,
            )
        # Also at every later call: one that comes in time again does not undo the pause.
        if self._stood_s:
            raise LeaseLapsed(self._stood_s)

    async def keep(self) -> LeaseLapsed:
        """Check every second; return what ended it."""
        while True:
            try:
                self.check()
            except LeaseLapsed as lapsed:
                return lapsed
            await asyncio.sleep(EVERY_S)
