"""What was seen of the other holders of jobs, look by look: which of them are dead. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from streams.laravel.marks import Mark

SILENT_LOOKS = 10
"""So many looks in a row must find no beat. One is due between any two of them."""


class _Step(NamedTuple):
    """How far a holder has come: it takes jobs and beats, and neither ever goes back."""

    taken_at: float
    beats: float


class HolderWatch:
    """Nobody can ask a process whether it died. Who does nothing, look after look, is taken for dead.

    One that was further before shows that Redis came back from an older copy. What was seen until then says
    nothing of that holder any more.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, _Step] = {}
        self._silent: dict[bytes, int] = {}
        """In how many looks a holder has done nothing; without those that live."""
        self._present: set[bytes] = set()
        self._looks = 0

    def look(self, found: Mapping[Mark, float]) -> None:
        """Take in what one look has found: the marks of others, and the beats of each."""
        self._looks += 1
        steps: dict[bytes, _Step] = {}
        for mark, beats in found.items():
            step = _Step(mark.taken_at, beats)
            steps[mark.holder] = max(step, steps.get(mark.holder, step))
        gone = self._present - steps.keys()
        for holder in gone:
            self._silent.pop(holder, None)  # it has settled what it held
        for holder, step in steps.items():
            self._see(holder, step)
        self._present = set(steps)

    def _see(self, holder: bytes, step: _Step) -> None:
        last = self._last.get(holder)
        self._last[holder] = step
        if last is None:
            if self._looks <= SILENT_LOOKS:  # who comes after that took its jobs under our eyes
                self._silent[holder] = 0
        elif step < last or (step == last and holder not in self._present):
            self._silent[holder] = 0
        elif step > last:
            self._silent.pop(holder, None)
        elif holder in self._silent:
            self._silent[holder] += 1

    @property
    def suspects(self) -> int:
        """How many may be dead or not."""
        return sum(looks < SILENT_LOOKS for looks in self._silent.values())

    def is_dead(self, mark: Mark) -> bool:
        """Tell whether its holder has done nothing for as long as it takes."""
        return self._silent.get(mark.holder, 0) >= SILENT_LOOKS
