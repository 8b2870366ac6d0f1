"""Which worker carries MQTT: the one that holds partition 0 of metrics.raw.

The group's own assignment elects the leader, so a worker that is gone leads no more once its partitions are
another's; what a zombie may still do in between, the MQTT broker ends, since both use one client id.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from faust.types import TP

log = logging.getLogger(__name__)


class Leadership:
    """Tells when this worker begins and ceases to lead."""

    def __init__(self, app: Any, topic: str) -> None:
        self._seat = TP(topic, 0)
        self._app = app
        self._leads = False
        self._term = 0
        self._changed = asyncio.Event()
        app.on_rebalance_complete.connect(self._on_assigned)

    @property
    def leads(self) -> bool:
        """Whether this worker leads now."""
        return self._leads

    async def changes(self) -> AsyncIterator[bool]:
        """Yield whether this worker leads, at each new term or end of one."""
        term = self._term
        while True:
            await self._changed.wait()
            self._changed.clear()
            if term != self._term:
                term = self._term
                yield self._leads

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        # A rebalance revokes everything and mostly gives it back, so the session stays until another worker
        # has the seat. Should this worker be cut off meanwhile, the new leader's session ends this one.
        self._settle(leads=self._seat in self._app.consumer.assignment())

    def _settle(self, *, leads: bool) -> None:
        if leads != self._leads:
            log.info("this worker %s MQTT", "now carries" if leads else "no longer carries")
        self._leads = leads
        self._term += 1
        self._changed.set()
