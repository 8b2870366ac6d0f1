"""The book: what came into each partition's agent, and what became of it. Pure.

For metrics.raw: messages in = accepted + rejected + duplicates. For metrics.unique: readings in = pushed +
replays. The left side is what the records' headers say, the right side what the agents did; so a message that
slips through shows as a difference. Both are counted when all effects of a record are durable, from the start
of the process on.
"""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Page:
    """One partition of one topic; each message that came in is counted once more, as what became of it."""

    came_in: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    pushed: int = 0
    replays: int = 0

    @property
    def accounted_for(self) -> int:
        """Of how many messages it is known what became of them."""
        return self.accepted + self.rejected + self.duplicates + self.pushed + self.replays

    @property
    def is_balanced(self) -> bool:
        """Whether that is so of all that came in, and of no other."""
        return self.came_in == self.accounted_for


class Book:
    """The pages of all partitions that this process has worked on."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, int], Page] = {}

    def page(self, topic: str, partition: int) -> Page:
        """Return the page of a partition, for its agent to count on."""
        page = self._pages.get((topic, partition))
        if page is None:
            page = self._pages[topic, partition] = Page()
        return page

    def unbalanced(self) -> list[str]:
        """Say of each partition whose page does not balance what is wrong."""
        return [
            f"{topic}[{partition}]: {page.came_in} came in, {page.accounted_for} are accounted for"
            for (topic, partition), page in sorted(self._pages.items(), key=lambda item: item[0])
            if not page.is_balanced
        ]

    def shown(self) -> dict[str, dict[str, dict[str, int | bool]]]:
        """Return the pages by topic and partition, as a web page shows them."""
        topics: dict[str, dict[str, dict[str, int | bool]]] = {}
        for (topic, partition), page in sorted(self._pages.items(), key=lambda item: item[0]):
            counts = {field.name: getattr(page, field.name) for field in fields(page)}
            topics.setdefault(topic, {})[str(partition)] = counts | {"balanced": page.is_balanced}
        return topics
