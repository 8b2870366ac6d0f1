"""The book: what came into each partition's agent, and what became of it. Pure.

For metrics.raw: messages in = accepted + rejected + duplicates. For metrics.unique: readings in = pushed +
replays. The left side is what the records' headers say, the right side what the agents did; so a message that
slips through shows as a difference. Both are counted when all effects of a record stand, from the start of
the process on.
"""

from collections import Counter
from enum import StrEnum


class Outcome(StrEnum):
    """What may become of a message."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATES = "duplicates"
    PUSHED = "pushed"
    REPLAYS = "replays"


class Page:
    """One partition of one topic."""

    def __init__(self) -> None:
        self.came_in = 0
        self.outcomes: Counter[Outcome] = Counter()

    @property
    def difference(self) -> int:
        """How many messages came in and are not accounted for; below zero for too many."""
        return self.came_in - self.outcomes.total()


class Book:
    """The pages of all partitions that this process has worked on."""

    def __init__(self) -> None:
        self.pages: dict[tuple[str, int], Page] = {}

    def enter(self, topic: str, partition: int, came_in: int, outcomes: dict[Outcome, int]) -> None:
        """Note what came in with a record, and what became of it."""
        page = self.pages.setdefault((topic, partition), Page())
        page.came_in += came_in
        page.outcomes.update(outcomes)

    def unbalanced(self) -> list[str]:
        """Say of each partition whose page does not balance what is wrong."""
        return [
            f"{topic}[{partition}]: {page.came_in} came in, {page.outcomes.total()} are accounted for"
            for (topic, partition), page in sorted(self.pages.items())
            if page.difference
        ]

    def shown(self) -> dict[str, dict[str, dict[str, int | bool]]]:
        """Return the pages by topic and partition, as a web page shows them."""
        topics: dict[str, dict[str, dict[str, int | bool]]] = {}
        for (topic, partition), page in sorted(self.pages.items()):
            topics.setdefault(topic, {})[str(partition)] = {
                "in": page.came_in,
                **{outcome.value: count for outcome, count in sorted(page.outcomes.items())},
                "balanced": not page.difference,
            }
        return topics
