"""Two minutes of storm on real parts: the short form of ``./dev faults``."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults.__main__ import MISSING_PART
from tests.faults.killable import Point
from tests.parts.process import MissingPartError

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 600


def test_nothing_is_lost_and_nothing_doubled_while_everything_is_killed_cut_and_slowed() -> None:
    # In a process of its own, as an operator runs it; a failure shows its seed and the workers' logs.
    command = [sys.executable, "-m", "tests.faults", "--short"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode == MISSING_PART:
        raise MissingPartError(done.stderr.splitlines()[-1].removeprefix("./dev faults: "))
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    report = json.loads(done.stdout)
    assert report["missing"] == report["doubled_rows"] == report["doubled_jobs"] == report["extra"] == 0
    assert report["ids"] >= 50_000
    assert report["faults_total"] >= 10
    assert set(report["deaths"]) == set(Point), "each named point was to be died at"
