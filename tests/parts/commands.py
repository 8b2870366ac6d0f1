"""Both ways to call a command of the project, from this checkout."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
WAYS = {
    "metric-streams": (sys.executable, "-m", "metric_streams"),
    "faust": (str(Path(sys.executable).with_name("faust")), "-A", "streams"),
}


def call(way: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these settings and no others."""
    return subprocess.run(
        [*WAYS[way], *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | environment,
    )
