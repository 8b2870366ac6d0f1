"""What has happened, written down where it happened, for the check at the end."""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.ingress.testing import FakeRawRecord
from streams.models import Message, Origin, RejectedMessage
from streams.wire import raw
from streams.wire.decision import Decision
from tests.model.devices import Publication


class Place(NamedTuple):
    """Where a chunk stands: its origin, in one of the lives that metrics.raw has had."""

    life: int
    partition: int
    offset: int

    @property
    def origin(self) -> Origin:
        return Origin(self.partition, self.offset)


class Decided(NamedTuple):
    """A decision as it was recorded, and the tenants that its worker knew."""

    decision: Decision
    tenants: AbstractSet[str]


@dataclass
class History:
    """Everything that the model must remember beyond what topics and Redis show at the end."""

    life: int = 0
    published: list[tuple[Publication, bytes]] = field(default_factory=list)
    """By number: what a device published, and the payload."""
    raw: dict[Place, list[Message]] = field(default_factory=dict)
    """Every chunk that ever became durable, in the order in which that happened."""
    durable: set[int] = field(default_factory=set)
    """Numbers of the messages in those chunks."""
    decided: dict[Place, list[Decided]] = field(default_factory=dict)
    tries: Counter[Place] = field(default_factory=Counter)
    """How often refine began to work on a chunk."""
    bugs: list[Exception] = field(default_factory=list)
    """What an agent's work raised and should not have."""

    def place(self, partition: int, offset: int) -> Place:
        """Return a place in the present life."""
        return Place(self.life, partition, offset)

    def landed(self, record: FakeRawRecord) -> None:
        """Note a record of metrics.raw."""
        messages = self.raw[self.place(record.partition, record.offset)] = raw.decode(record.value)
        self.durable.update(map(self.number, messages))

    def has_decided_on(self, origin: Origin) -> bool:
        """Tell whether a decision was recorded about a chunk, in whatever life."""
        return any(
            Place(life, origin.partition, origin.offset) in self.decided for life in range(self.life + 1)
        )

    @staticmethod
    def number(message: Message | RejectedMessage) -> int:
        """Return the number of the publication that a message is a copy of."""
        return int((message.payload or "").removeprefix('{"n": ').split(",")[0])
