"""How long ingress waits before it connects to the MQTT broker again, and whether it is fought with. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from streams.backoff import delays
from streams.errors import ConnectionLost, MetricStreamsError, SessionTakenOver

RECONNECT_FIRST_S, RECONNECT_MOST_S = 0.5, 30.0
STEADY_S = 10.0
"""A connection that lasted this long was a good one: the next wait is short again."""
QUICK_CLOSE_S, CLOSES_MEAN_FIGHT = 5.0, 3
"""So many takeovers, or wordless closes, with only such short connections between them, are a fight."""
FIGHT_FIRST_S, FIGHT_MOST_S = 1.0, 60.0
"""Of two that fight for one client id, the one that gives in tries at last once a minute, loudly."""


class Wait(NamedTuple):
    """What to do before the next attempt."""

    seconds: float
    taken_over: bool = False
    """Another client may have our session: we come back at once, since it may have wiped that."""
    fought: bool = False
    """It took the session again and again."""


class ReconnectDelay:
    """Decides after each connection.

    MQTT 3.1.1 has no word for a takeover, and Mosquitto 2.0.11 does not say it in MQTT 5 either: it closes
    without a word. So does a broker that goes down, but that does not let us in again at once. So whatever
    ends an open connection without a reason is met by coming back at once. Only who loses one short
    connection after the other gives in, for longer each time: of two that fight, the one that was there
    first. A close while the connection is still being opened is none of these: something was not allowed.
    """

    def __init__(self) -> None:
        self._waits_s = _reconnects()
        self._fights_s = _fights()
        self._closes = 0

    def after(self, end: MetricStreamsError, lasted_s: float) -> Wait:
        """Return how long to wait.

        Args:
            end: what ended the connection, or kept it from being made.
            lasted_s: how long it was connected.
        """
        # Before anything else: what ended a long connection says nothing about a fight.
        if lasted_s > STEADY_S:
            self._waits_s, self._fights_s = _reconnects(), _fights()
        if not (isinstance(end, SessionTakenOver) or (isinstance(end, ConnectionLost) and end.wordless)):
            self._closes = 0
            return Wait(next(self._waits_s))
        self._closes = self._closes + 1 if lasted_s < QUICK_CLOSE_S else 1
        if self._closes >= CLOSES_MEAN_FIGHT:
            return Wait(next(self._fights_s), taken_over=True, fought=True)
        return Wait(0.0, taken_over=isinstance(end, SessionTakenOver))


def _reconnects() -> Iterator[float]:
    return delays(RECONNECT_FIRST_S, RECONNECT_MOST_S)


def _fights() -> Iterator[float]:
    return delays(FIGHT_FIRST_S, FIGHT_MOST_S)
