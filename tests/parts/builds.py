"""Another build of the project: its checkout, to run with this one's packages."""

import subprocess
import tarfile
from pathlib import Path

from tests.parts.process import MissingPartError

_REPOSITORY = Path(__file__).parents[2]


def check_out(commit: str, directory: Path) -> Path:
    """Write the tree of a commit into a new directory and return that.

    Raises:
        MissingPartError: if the repository does not hold the commit, as a shallow clone may not.
    """
    archive = directory.with_suffix(".tar")
    command = ["git", "-C", str(_REPOSITORY), "archive", "--format=tar", "-o", str(archive), commit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingPartError(f"this checkout does not hold commit {commit}: {done.stderr.strip()}")
    with tarfile.open(archive) as tree:
        tree.extractall(directory, filter="data")
    return directory
