"""Asks a part every few seconds whether it answers: a worker without work would not notice an outage."""

from collections.abc import Awaitable, Callable

from streams.background import Background
from streams.counters import Statistics
from streams.errors import Outage

Probe = Callable[[], Awaitable[None]]
"""Asks a part whether it answers; raises Outage if not."""

ASK_EVERY_S = 5.0
WHO = "asked now and then"
"""Who has trouble with a part that does not answer here."""


class Asking:
    """Asks one part while the worker runs.

    Args:
        part: its name.
        probe: asks it.
        statistics: told what it answers.
    """

    def __init__(self, part: str, probe: Probe, statistics: Statistics) -> None:
        self._part = part
        self._probe = probe
        self._statistics = statistics
        self._asking = Background(
            f"what asks {part}",
            self.ask,
            ASK_EVERY_S,
            statistics,
            meaning=f"Until it is mended, an outage of {part} may show only where it is met",
        )

    async def start(self) -> None:
        """Begin to ask."""
        self._asking.begin()

    async def stop(self) -> None:
        """Ask no more."""
        await self._asking.end()

    async def ask(self) -> None:
        """Ask once."""
        try:
            await self._probe()
        except Outage as outage:
            self._statistics.down(self._part, WHO, outage.detail)
        else:
            self._statistics.up(self._part, WHO)
