"""The table ``seen`` in memory, for tests without a server: its changelog is a list to recover from."""

from collections.abc import Sequence
from contextlib import suppress

from streams.errors import DeliveryFailed, MalformedRecord
from streams.models import Origin
from streams.wire.decision import Decision, Inherited, Place, decode_key, encode, encode_key
from tables.seen import apply_row
from tables.state import SeenState

Row = tuple[bytes, bytes | None]


class FakeSeen:
    """Keeps its changelog as rows; `away` makes it an outage, `recovered` what a new worker would know."""

    def __init__(self, *, window_s: float = 3_600.0, max_ids: int = 1_000_000) -> None:
        self.memory = SeenState(window_s=window_s, max_ids=max_ids)
        self.changelog: list[Row] = []
        self.away = False

    async def record(self, decisions: Sequence[tuple[Origin, Decision]]) -> None:
        """Make decisions last."""
        for origin, decision in decisions:
            await self.append(origin, encode(decision))
        for origin, decision in decisions:
            for old in self.memory.admit(origin, decision, decision.decided_at, limit=32):
                self.memory.remove(old)
                self.changelog.append((encode_key(old), None))

    async def drop_from(self, partition: int, start: int) -> None:
        """Forget a partition's decisions about `start` and all offsets behind it for good."""
        for offset in self.memory.partition(partition).offsets_from(start):
            await self.append(Origin(partition, offset), None)
            self.memory.remove(Origin(partition, offset))

    async def drop_inherited(self, partition: int) -> None:
        """Forget for good what a partition has inherited."""
        for origin in self.memory.partition(partition).inherited():
            await self.append(Inherited(partition, origin), None)
            self.memory.remove(Inherited(partition, origin))

    def recovered(self) -> "FakeSeen":
        """Return the table as a worker would find it that has only the changelog."""
        other = FakeSeen(window_s=self.memory.window_s, max_ids=self.memory.max_ids)
        other.recover(self.changelog)
        return other

    def recover(self, changelog: list[Row]) -> None:
        """Share a changelog with other workers, and take in what it holds."""
        self.changelog = changelog
        for key, value in changelog:
            with suppress(MalformedRecord):
                apply_row(self.memory, decode_key(key).partition, key, value)

    async def append(self, place: Place, value: bytes | None) -> None:
        """Write a row, and wait until it lasts.

        Raises:
            DeliveryFailed: it does not.
        """
        if self.away:
            raise DeliveryFailed("changelog", "is away")
        self.changelog.append((encode_key(place), value))
