"""What became of the mutants of each file, as mutmut leaves it beside its copy of the file.

``streams/rules/value.py.meta`` is JSON. Its ``exit_code_by_key`` has for each mutant how the tests ended, as
pytest's exit code, as a signal, or as a number of mutmut's own (``mutmut/stats.py``)::

    {"exit_code_by_key": {"streams.rules.value.x_read_value__mutmut_1": 1, …}, …}
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    """The tests did not end in time: noticed as well, as by an endless loop."""
    SURVIVED = "survived"
    NO_TESTS = "no tests"
    """No test comes by."""
    UNKNOWN = "unknown"
    """Not run, or the run itself broke: it says nothing."""


_FATES: Mapping[int | None, Fate] = {
    0: Fate.SURVIVED,
    1: Fate.KILLED,
    3: Fate.KILLED,  # pytest itself broke
    5: Fate.NO_TESTS,
    33: Fate.NO_TESTS,
    -11: Fate.KILLED,  # a segmentation fault
    -24: Fate.TIMEOUT,  # SIGXCPU
    -9: Fate.TIMEOUT,
    24: Fate.TIMEOUT,
    36: Fate.TIMEOUT,
    152: Fate.TIMEOUT,
}


class Score(NamedTuple):
    """How many mutants of a file, or of all, had which fate."""

    name: str
    counts: Counter[Fate]

    @property
    def mutants(self) -> int:
        """How many there are."""
        return self.counts.total()

    @property
    def percent(self) -> float:
        """How many of a hundred were noticed; one that no test comes by was not."""
        noticed = self.counts[Fate.KILLED] + self.counts[Fate.TIMEOUT]
        return 100 * noticed / self.mutants if self.mutants else 100.0


def fates(meta: Path) -> dict[str, Fate]:
    """Return the fate of each mutant of a file by its name, which mutmut knows it by."""
    codes = json.loads(meta.read_text())["exit_code_by_key"]
    return {name: _FATES.get(code, Fate.UNKNOWN) for name, code in codes.items()}


def total(scores: Iterable[Score]) -> Score:
    """Add up the scores of files."""
    return Score("total", sum((score.counts for score in scores), Counter()))


def table(scores: Iterable[Score]) -> str:
    """Return the scores as lines, one for each, under a heading."""
    scores = list(scores)
    width = max(len(score.name) for score in scores)
    lines = [f"{'':{width}} {'mutants':>9}" + "".join(f" {fate:>9}" for fate in Fate) + f" {'score':>7}"]
    for score in scores:
        counts = "".join(f" {score.counts[fate]:9}" for fate in Fate)
        lines.append(f"{score.name:{width}} {score.mutants:9}{counts} {score.percent:6.1f}%")
    return "\n".join(lines)


def as_json(score: Score) -> str:
    """Return a score as one line of JSON."""
    counts = {fate.replace(" ", "_"): score.counts[fate] for fate in Fate}
    return json.dumps({"mutants": score.mutants, **counts, "score": round(score.percent, 2)})
