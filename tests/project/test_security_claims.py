"""SECURITY.md: each test that it names for a claim is there, by its name and where it says."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "SECURITY.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ")]
TESTED = {"test", "the attack in the test"}
NOT_TESTED = {"none", "none: seen once, by hand", "as above", "the same"}


def test_every_test_that_is_named_for_a_claim_exists() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", TEXT))
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("*.py"))
    named -= {"mem_limit"}  # a word of Compose
    assert len(named) > 10
    assert {name for name in named if not re.search(rf"def {name}\(", tests)} == set()


def test_every_claim_names_its_test_or_says_that_there_is_none() -> None:
    tables = 0
    has_tests = False
    for line in ROWS:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[-1] in TESTED:
            has_tests, tables = True, tables + 1
        elif len(cells) < 4 or set(cells[-1]) <= {"-", " "}:
            has_tests = has_tests and len(cells) >= 4
        elif has_tests:
            assert cells[-1] in NOT_TESTED or re.search(r"`(tests/|\./dev |\w+_\w+)", cells[-1]), line
    assert tables == 4
