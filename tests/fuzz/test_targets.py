"""Each target for a moment, so that a change that breaks a claim about outside bytes shows at once."""

import os
from pathlib import Path

import pytest

from tests.fuzz import broken
from tests.fuzz.campaign import NO_ENGINE, fuzz, has_engine
from tests.fuzz.targets import load, names

SECONDS, SECONDS_IN_CI = 2.0, 6.0


@pytest.fixture
def seconds() -> float:
    """How long to fuzz; without an engine, the reason to skip (in CI: to fail)."""
    in_ci = bool(os.environ.get("CI"))
    if not has_engine():
        if in_ci:
            pytest.fail(f"missing in CI: {NO_ENGINE}", pytrace=False)
        pytest.skip(NO_ENGINE)
    return SECONDS_IN_CI if in_ci else SECONDS


@pytest.mark.parametrize(
    ("target", "number"), [(name, n) for name in names() for n in range(len(load(name).SEEDS))]
)
def test_what_fuzzing_begins_with_holds_every_claim(target: str, number: int) -> None:
    load(target).fuzz(load(target).SEEDS[number])


@pytest.mark.parametrize("target", names())
def test_nothing_that_fuzzing_finds_breaks_a_claim(target: str, seconds: float, tmp_path: Path) -> None:
    outcome = fuzz(target, seconds, tmp_path / "corpus", tmp_path / "failures", quiet=True)
    if outcome.failed:
        pytest.fail(outcome.explain(), pytrace=False)
    assert "DONE" in outcome.figures, outcome.output


def test_a_failure_is_explained_with_its_input_and_how_to_replay_it(seconds: float, tmp_path: Path) -> None:
    outcome = fuzz(broken.__name__, 10 * seconds, tmp_path / "corpus", tmp_path / "failures", quiet=True)
    (path,) = outcome.failures
    with pytest.raises(AssertionError, match="a fraction"):
        broken.fuzz(path.read_bytes())
    explanation = outcome.explain()
    assert "AssertionError: a fraction" in explanation
    assert path.read_bytes().hex() in explanation
    assert f"--replay {path}" in explanation
