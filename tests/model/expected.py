"""What must have become of all that reached metrics.raw: a plain retelling, without the agents' code.

Only the name of a job is theirs, which is a hash.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from agents.handoff import job_names
from streams.laravel.replays import ChunkId
from streams.models import Message, Reason
from tests.model.devices import PARTITIONS, Publication
from tests.model.history import History, Place

Label = tuple[object, ...]
"""What tells a row from every other."""


class Content(NamedTuple):
    """What a device said, by which a duplicate is known."""

    value: int
    timestamp: str | None
    """None where the device sent none."""


class Accepted(NamedTuple):
    """A message that is to become a row."""

    index: int
    tenant: str
    label: Label
    content: Content
    arrival: str

    @property
    def timestamp(self) -> str:
        """The row's."""
        return self.content.timestamp or self.arrival


@dataclass
class Outcome:
    """What must have become of a chunk."""

    accepted: list[Accepted] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    refused: dict[int, Reason] = field(default_factory=dict)


class Expected:
    """Goes through all chunks in their order and says what each message must have become."""

    def __init__(self, history: History, window_s: float) -> None:
        self.history = history
        self.outcomes: dict[Place, Outcome] = {}
        self.plain: dict[Label, Content] = {}
        """The rows of a plain upsert of all that was not refused, without any dedupe."""
        for partition in range(PARTITIONS):
            for life in range(history.life + 1):
                self._tell_life(life, partition, window_s)

    def jobs(self, partition: int) -> Iterator[str]:
        """Yield the uuids of a partition's jobs, in order."""
        for place, outcome in self.outcomes.items():
            if place.partition == partition:
                decision = self.history.decided[place][0].decision
                chunk = ChunkId(decision.epoch, place.offset, decision.digest)
                for tenant in dict.fromkeys(accepted.tenant for accepted in outcome.accepted):
                    yield job_names(partition, chunk, tenant)[0]

    def _tell_life(self, life: int, partition: int, window_s: float) -> None:
        """Tell one life of a partition; what was seen before metrics.raw was recreated is forgotten."""
        standing: dict[Label, tuple[Content, float]] = {}
        for place, messages in self.history.raw.items():
            if (place.life, place.partition) == (life, partition):
                assert place in self.history.decided, f"{place} was never decided on"
                self.outcomes[place] = self._tell(place, messages, standing, window_s)

    def _tell(
        self,
        place: Place,
        messages: list[Message],
        standing: dict[Label, tuple[Content, float]],
        window_s: float,
    ) -> Outcome:
        outcome = Outcome()
        decision, tenants = self.history.decided[place][0]
        for index, message in enumerate(messages):
            publication, _ = self.history.published[self.history.number(message)]
            if publication.fault is not None:
                outcome.refused[index] = publication.fault
            elif publication.tenant not in tenants:
                outcome.refused[index] = Reason.TENANT_UNKNOWN
            else:
                accepted = _accepted(place, index, message, publication)
                self.plain[accepted.label] = accepted.content
                seen, at = standing.get(accepted.label, (None, 0.0))
                if seen == accepted.content and at >= decision.decided_at - window_s:
                    outcome.duplicates.append(index)
                    continue
                standing[accepted.label] = accepted.content, decision.decided_at
                outcome.accepted.append(accepted)
        return outcome


def _accepted(place: Place, index: int, message: Message, publication: Publication) -> Accepted:
    content = Content(publication.value, publication.timestamp)
    label: Label = ("place", *place, index)
    if publication.dedupe_id is not None:
        label = ("id", publication.tenant, publication.dedupe_id)
    elif publication.timestamp is not None:
        label = ("reading", publication.tenant, *content)
    arrival = message.received_at.replace("T", " ").removesuffix("Z")
    return Accepted(index, publication.tenant, label, content, arrival)
