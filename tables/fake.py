"""The table ``seen`` in memory, for tests without a server: its changelog is a list to recover from."""

from streams.errors import DeliveryFailed
from streams.models import Origin
from streams.wire.decision import Decision, decode, decode_key, encode, encode_key
from tables.state import SeenState


class FakeSeen:
    """Keeps its changelog as rows; `away` makes it an outage, `recovered` what a new worker would know."""

    def __init__(self, *, window_s: float = 3_600.0, max_ids: int = 1_000_000) -> None:
        self.memory = SeenState(window_s=window_s, max_ids=max_ids)
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.away = False

    async def record(self, origin: Origin, decision: Decision) -> None:
        """Make a decision last."""
        self._append(origin, encode(decision))
        self.memory.add(origin, decision)
        for old in self.memory.evictable(origin.partition, decision.decided_at, limit=32):
            self.memory.remove(old)
            self._append(old, None)

    async def drop_partition(self, partition: int) -> None:
        """Forget a partition's decisions for good."""
        await self.drop_from(partition, 0)
        self.memory.forget(partition)

    async def drop_from(self, partition: int, start: int) -> None:
        """Forget a partition's decisions about `start` and all offsets behind it for good."""
        for offset in [held for held in self.memory.partition(partition).offsets() if held >= start]:
            self._append(Origin(partition, offset), None)
            self.memory.remove(Origin(partition, offset))

    def recovered(self) -> "FakeSeen":
        """Return the table as a worker would find it that has only the changelog."""
        other = FakeSeen(window_s=self.memory.window_s, max_ids=self.memory.max_ids)
        other.changelog = self.changelog
        for key, value in self.changelog:
            if value is None:
                other.memory.remove(decode_key(key))
            else:
                other.memory.add(decode_key(key), decode(value))
        return other

    def _append(self, origin: Origin, value: bytes | None) -> None:
        if self.away:
            raise DeliveryFailed("changelog", "is away")
        self.changelog.append((encode_key(origin), value))
