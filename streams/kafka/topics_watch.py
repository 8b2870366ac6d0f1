"""Looks every half minute whether the topics are still as they must be, also after somebody has changed them.

At its start a worker refuses topics on which the guarantees cannot be kept. One that runs already goes on,
but says so, and is not ready: what it has written may be lost, and it could not be started again.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

from streams.background import Background
from streams.counters import Statistics
from streams.errors import Outage
from streams.kafka.admin import find_topics
from streams.kafka.topic_checks import Found, unsafe
from streams.settings import Settings
from streams.topics import topic_specs

log = logging.getLogger(__name__)

EVERY_S = 30.0
PART, WHO = "kafka", "the topics"

Find = Callable[[Settings], Awaitable[Mapping[str, Found]]]


class TopicsWatch:
    """Looks for as long as the worker runs, and never raises into it.

    Args:
        settings: say how the topics must be.
        statistics: its part ``kafka`` is down while they are not.
        find: returns how they are, or raises Outage.
    """

    def __init__(self, settings: Settings, statistics: Statistics, find: Find = find_topics) -> None:
        self._settings = settings
        self._statistics = statistics
        self._find = find
        self._problems: list[str] = []
        self.looking = Background(
            "the check of the topics",
            self.look,
            EVERY_S,
            statistics,
            meaning="Until it is mended, topics that became unsafe may go unnoticed; the worker carries on",
            first_at_once=False,  # the start has looked already
        )

    async def start(self) -> None:
        """Begin to look."""
        self.looking.begin()

    async def stop(self) -> None:
        """Cease to look."""
        await self.looking.end()

    async def check(self) -> None:
        """Return if the topics were as they must be when they were looked at last.

        Raises:
            Outage: if they were not.
        """
        if self._problems:
            raise Outage(PART, "; ".join(self._problems))

    async def look(self) -> None:
        """Ask once, and keep what was seen."""
        try:
            found = await self._find(self._settings)
            bootstrap = ",".join(self._settings.bootstrap_servers)
            # Topics that are missing are told of by the watch on their partitions.
            standing = [spec for spec in topic_specs(self._settings) if spec.name in found]
            self._problems = [
                each.seen for spec in standing for each in unsafe(spec, found[spec.name], bootstrap)
            ]
        except Outage as outage:
            log.debug("could not check the topics: %s", outage)
            return
        if self._problems:
            self._statistics.down(PART, WHO, "; ".join(self._problems))
        else:
            self._statistics.leave(PART, WHO)
