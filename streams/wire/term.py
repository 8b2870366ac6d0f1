"""The term of a leadership of ingress, as the header ``term`` carries it: one number that only grows.

    term: 126649119451119623   lineage 29487796, generation 7, as 29487796 << 32 | 7

Its generation is that of Kafka's consumer group, which grows with each rebalance; one generation has one
leader. But a group can be deleted, or Kafka set back, and then generations start low again. So a generation
proves nothing by itself: one that is not above those in the log begins a new lineage, above theirs.
"""

from typing import NamedTuple, Self

GENERATION_BITS = 32
GENERATION_MASK = (1 << GENERATION_BITS) - 1


class Term(NamedTuple):
    """A leadership; of two, the later one is the greater."""

    lineage: int
    generation: int

    @classmethod
    def of(cls, packed: int) -> Self:
        """Read what `packed` has given."""
        return cls(packed >> GENERATION_BITS, packed & GENERATION_MASK)

    @property
    def packed(self) -> int:
        """One number that is compared as the term is."""
        return self.lineage << GENERATION_BITS | self.generation

    def successor(self, generation: int, minute: int) -> "Term":
        """Return the term of a leader that came after this one.

        Args:
            generation: the consumer group's, under which it leads.
            minute: Unix time in minutes. Where the log tells no term, because retention has emptied it or
                older versions wrote its end, this alone keeps the new one above those that are forgotten
                there, but that refine may remember.
        """
        if self.lineage and generation > self.generation:
            return Term(self.lineage, generation)
        return Term(max(self.lineage + 1, minute), generation)


NO_TERM = Term(0, 0)
