"""On a machine without servers the tests pass, say what was left out, and fail in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WHILE_SETTING_UP, WHILE_RUNNING = (
    "test_php_has_the_queue_of_laravel",
    "test_parts_die_with_the_tests_that_were_killed",
)


def bare_tests(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run two tests of parts, with nothing on PATH."""
    selected = [f"tests/integration/test_parts.py::{name}" for name in (WHILE_SETTING_UP, WHILE_RUNNING)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selected],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "CI"}
        | {"PATH": str(path)}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="one of the tests is for Linux alone")
def test_what_needs_a_missing_part_is_left_out_and_said_with_what_installs_it(tmp_path: Path) -> None:
    done = bare_tests(tmp_path)
    assert done.returncode == 0, done.stdout
    *_, first, second, mend, counts = done.stdout.splitlines()
    assert {first, second} == {
        "    1  php is not installed (Debian: apt-get install php-cli)",
        "    1  setpriv is not installed (Debian: apt-get install util-linux)",
    }
    assert mend.endswith(".ci/install")
    assert counts.startswith("2 skipped")


def test_in_ci_a_missing_part_fails(tmp_path: Path) -> None:
    done = bare_tests(tmp_path, CI="true")
    assert done.returncode == 1
    assert "missing in CI: php is not installed" in done.stdout
    assert "missing in CI: setpriv is not installed" in done.stdout
