"""What mutmut leaves behind is counted right."""

import json
from collections import Counter
from pathlib import Path

from tests.mutation.scores import Fate, Score, as_json, fates, table, total


def test_the_fate_of_a_mutant_is_what_the_tests_ended_with(tmp_path: Path) -> None:
    ends = {"killed": 1, "survived": 0, "untested": 33, "looped": -24, "not run": None, "broken": 255}
    meta = tmp_path / "value.py.meta"
    meta.write_text(json.dumps({"exit_code_by_key": ends}))
    assert fates(meta) == {
        "killed": Fate.KILLED,
        "survived": Fate.SURVIVED,
        "untested": Fate.NO_TESTS,
        "looped": Fate.TIMEOUT,
        "not run": Fate.UNKNOWN,
        "broken": Fate.UNKNOWN,
    }


def test_what_was_not_noticed_counts_against_the_score_whatever_the_cause() -> None:
    every = total(
        [
            Score("a", Counter({Fate.KILLED: 5, Fate.TIMEOUT: 1})),
            Score("b", Counter({Fate.SURVIVED: 2, Fate.NO_TESTS: 1, Fate.UNKNOWN: 1})),
        ]
    )
    assert (every.mutants, every.percent) == (10, 60.0)


def test_a_file_without_mutants_lowers_no_score() -> None:
    assert Score("a", Counter()).percent == 100.0


def test_the_table_has_a_line_for_each_file_and_the_last_line_is_json() -> None:
    score = Score("streams/rules/value.py", Counter({Fate.KILLED: 3, Fate.SURVIVED: 1}))
    heading, line = table([score]).splitlines()
    assert heading.split() == ["mutants", "killed", "timeout", "survived", "no", "tests", "unknown", "score"]
    assert line.split() == ["streams/rules/value.py", "4", "3", "0", "1", "0", "0", "75.0%"]
    assert json.loads(as_json(score)) == {
        "mutants": 4,
        "killed": 3,
        "timeout": 0,
        "survived": 1,
        "no_tests": 0,
        "unknown": 0,
        "score": 75.0,
    }
