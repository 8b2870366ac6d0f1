"""Topics in memory, for tests without a server."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from streams.errors import DeliveryFailed
from streams.kafka.producer import Outgoing


class FakeRecord(NamedTuple):
    """A record as its topic holds it; its offset is its place in the partition."""

    value: bytes
    headers: dict[str, bytes]


class FakeLanding(NamedTuple):
    """Where a record has landed."""

    offset: int


class FakeTopics:
    """Keeps what is sent, by topic and partition; `away` makes it an outage."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], list[FakeRecord]] = defaultdict(list)
        self.away = False

    async def emit(self, records: Sequence[Outgoing]) -> list[FakeLanding]:
        """Append records."""
        landed: list[FakeLanding] = []
        for topic, value, partition, headers, _key in records:
            if self.away:
                raise DeliveryFailed(topic, "is away")
            landed.append(FakeLanding(len(self.logs[topic, partition])))
            self.logs[topic, partition].append(FakeRecord(value or b"", dict(headers)))
        return landed

    def all(self, topic: str) -> list[FakeRecord]:
        """Return a topic's records, partition by partition."""
        return [record for (name, _), log in sorted(self.logs.items()) if name == topic for record in log]
