"""Who else is in the group, from what each worker tells. Pure: it is told the time.

A worker is known to live by what it tells changing, and not by the time that it writes on it: clocks differ.
"""

from collections.abc import Mapping, Sequence

from streams.dashboard.summary import Peer, WorkerSummary, decode
from streams.errors import MalformedRecord

FRESH_S = 5.0
"""A worker that has told nothing new for so long counts as silent."""
FORGET_S = 60.0
"""And after so long as gone."""
MOST = 64
"""Workers; Kafka's group has rarely more, and a page shows no more."""


class Peers:
    """The other workers."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[bytes, float, WorkerSummary]] = {}

    def hear(self, told: Mapping[str, bytes], now: float) -> None:
        """Take what all have told.

        Args:
            told: by worker.
            now: seconds that never go back.
        """
        self._told = {
            name: heard
            for name, line in list(told.items())[:MOST]
            if (heard := self._heard(name, line, now)) is not None
        }

    def _heard(self, name: str, line: bytes, now: float) -> tuple[bytes, float, WorkerSummary] | None:
        before = self._told.get(name)
        # Nothing new, so it has the age that it had.
        if before is not None and before[0] == line:
            return before
        try:
            return line, now, decode(line)
        except MalformedRecord:  # of another version: it shows nothing that this one could read
            return None

    def all(self, now: float) -> Sequence[Peer]:
        """Return those that are not gone, by name."""
        peers = (Peer(summary, now - at) for _, (_, at, summary) in sorted(self._told.items()))
        return [peer for peer in peers if peer.silent_s < FORGET_S]

    def gone(self, now: float) -> list[str]:
        """Name those that are gone."""
        return [name for name, (_, at, _) in self._told.items() if now - at >= FORGET_S]
