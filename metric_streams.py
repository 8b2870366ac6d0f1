"""The console command ``metric-streams``, and ``python -m metric_streams``.

The packages of the project have names that others give to theirs: ``streams``, ``agents``, ``tables``. So
this file has a name that is the project's own, and sees to it that the installed packages are imported,
whatever the current directory holds.
"""

import os
import sys
from pathlib import Path


def main() -> None:
    """Search doubtful directories last, and only then import the command line and run it."""
    doubtful = doubtful_directories(os.environ.get("PYTHONPATH", ""))
    sys.path.sort(
        key=lambda entry: os.path.realpath(entry) in doubtful
    )  # stable: the order of the others stays
    from streams.commands.program import run  # noqa: PLC0415 - which ``streams`` that is has just been settled

    run()


def doubtful_directories(python_path: str) -> set[str]:
    """Return the directories that are on ``sys.path`` by where somebody happens to be.

    They are the script's own, or with ``-m`` the current one, and each relative entry of PYTHONPATH, such as
    the empty one that ``PYTHONPATH=$PYTHONPATH:/opt/lib`` makes. What PYTHONPATH names in full is meant.

    Args:
        python_path: PYTHONPATH.
    """
    entries = python_path.split(os.pathsep) if python_path else []
    meant = {os.path.realpath(entry) for entry in entries if Path(entry).is_absolute()}
    found = {os.path.realpath(entry) for entry in entries}
    if not sys.flags.safe_path:
        found.add(os.path.realpath(sys.path[0]))
    return found - meant


if __name__ == "__main__":
    main()
