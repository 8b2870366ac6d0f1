"""What a person has written wrong ends a command with 2, as a wrong option does."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tail", "--since", "yesterday"], "is no time"),
        (["tail", "raw", "--reason", "tenant_unknown"], "--reason goes with rejected alone"),
        (["devices", "list", "--silent-for", "soon"], "is no duration"),
        (["rejected", "list", "--reason", "tenat_unknown"], "is no reason"),
        (["rejected", "replay", "bogus"], "is no coordinate"),
        (["nonsense"], "nonsense"),
    ],
)
def test_it_ends_with_2_and_one_line_that_says_what_is_wrong(arguments: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metric_streams", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
