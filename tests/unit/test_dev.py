"""./dev, as far as it can be held without a package index; and the lock file that it installs."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / "requirements.lock").read_text()
LOCKED = re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE)
COMMANDS = ["run", "test", "check", "bench", "faults", "lock"]


class Commands(list[list[str]]):
    """Stands in for subprocess.run: remembers the commands, and does what a few of them leave behind."""

    def __init__(self, dev: ModuleType) -> None:
        super().__init__()
        self.dev = dev
        self.failing: set[str] = set()

    def __call__(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.append(list(command))
        if "venv" in command:
            self.dev.PYTHON.parent.mkdir(parents=True)
            self.dev.PYTHON.touch()
        failed = any(word in self.failing for word in command)
        return subprocess.CompletedProcess(command, 1 if failed else 0)

    def names(self) -> list[str]:
        """Return what the installation did, in a word each."""
        words = {"venv": "venv", "sync": "uv sync", "--editable": "project", "-r": "pip"}
        return [next((name for word, name in words.items() if word in command), "?") for command in self]


@pytest.fixture
def dev(tmp_path: Path) -> ModuleType:
    """The program, as it stands in a fresh checkout."""
    for name in ("dev", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    loader = SourceFileLoader("dev", str(tmp_path / "dev"))
    spec = importlib.util.spec_from_loader("dev", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def commands(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The commands that it starts, none of which is really run."""
    seen = Commands(dev)
    monkeypatch.setattr(dev.subprocess, "run", seen)
    return seen


def test_help_names_every_command_and_installs_nothing(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "dev", tmp_path)
    shown = subprocess.run([tmp_path / "dev", "--help"], capture_output=True, text=True, check=True)
    assert all(re.search(rf"^    {name} +\S", shown.stdout, re.MULTILINE) for name in COMMANDS)
    assert [path.name for path in tmp_path.iterdir()] == ["dev"]


def test_what_follows_a_command_is_handed_on_as_it_is(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dev", "test", "-q", "--help", "-k", "a or b", "tests/unit"])
    options, rest = dev.arguments()
    assert options.command is dev.test
    assert rest == ["-q", "--help", "-k", "a or b", "tests/unit"]


def test_the_first_call_installs_and_the_second_starts_nothing(dev: ModuleType, commands: Commands) -> None:
    dev.install()
    assert commands.names() == ["venv", "pip", "uv sync", "project"]
    commands.clear()
    dev.install()
    assert commands == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed_again(dev: ModuleType, commands: Commands, name: str) -> None:
    dev.install()
    commands.clear()
    (dev.ROOT / name).write_text((dev.ROOT / name).read_text() + "\n# changed\n")
    dev.install()
    assert commands.names()[-2:] == ["uv sync", "project"]
    assert "venv" not in commands.names()


def test_everything_is_installed_by_its_hash(dev: ModuleType, commands: Commands) -> None:
    dev.install()
    installs = [command for command in commands if "install" in command or "sync" in command]
    assert all("--require-hashes" in command or "--no-deps" in command for command in installs)
    assert dev.locked("uv").startswith("uv==")
    assert dev.locked("uv").count("--hash=sha256:") > 1
    assert not dev.locked("uv").rstrip().endswith("\\")


def test_pip_helps_out_where_uv_cannot_reach_the_index(dev: ModuleType, commands: Commands) -> None:
    commands.failing = {"sync"}
    dev.install()
    assert commands.names() == ["venv", "pip", "uv sync", "pip", "project"]
    assert dev.installed() == dev.fingerprint()


def test_an_installation_that_failed_is_told_and_tried_again(
    dev: ModuleType, commands: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dev", "check"])
    commands.failing = {"--editable"}
    assert dev.main() == 1
    assert "./dev: the project could not be installed" in capsys.readouterr().err
    assert dev.installed() == ""


def test_an_interrupt_ends_it_without_a_traceback(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["dev", "check"])
    monkeypatch.setattr(dev, "install", interrupt)
    assert dev.main() == 130
    assert capsys.readouterr().err == "\n./dev: interrupted\n"


def test_check_runs_every_tool_and_names_those_that_failed(dev: ModuleType, commands: Commands) -> None:
    commands.failing = {"mypy", "--check"}
    with pytest.raises(dev.DevError, match="check failed: format, types"):
        dev.check([])
    assert len(commands) == 4


@pytest.mark.parametrize(("name", "path"), [("bench", "benchmarks"), ("faults", "tests/faults")])
def test_what_a_checkout_lacks_is_said_plainly(dev: ModuleType, name: str, path: str) -> None:
    with pytest.raises(dev.DevError, match=f"this checkout has no {path}/__main__.py"):
        dev.COMMANDS[name]([])


def test_a_python_that_is_too_old_is_told_so(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed"):
        dev.check_python()


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 14, 0)])
def test_a_python_that_all_parts_have_wheels_for_is_preferred(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "argv", ["dev", "test"])
    monkeypatch.setattr(dev.shutil, "which", lambda name: "/bin/python3.12" if name == "python3.12" else None)
    monkeypatch.setattr(dev.os, "execv", lambda program, argv: started.append((program, argv)))
    monkeypatch.setattr(dev, "check_python", lambda: None)
    monkeypatch.setenv(dev.CHOSEN, "")
    dev.choose_python()
    assert started[0] == ("/bin/python3.12", ["/bin/python3.12", "dev", "test"])


def test_the_lock_file_names_no_index() -> None:
    assert not re.search(r"https?:|--(extra-)?index|--find-links", LOCK)


def test_every_locked_package_has_its_hashes() -> None:
    blocks = re.split(r"^(?=[a-z0-9-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(LOCKED) > 50
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_lock_file_fits_what_the_project_asks_for() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [
        Requirement(line)
        for line in (*project["dependencies"], *(line for extra in extras for line in extra))
    ]
    locked = {canonicalize_name(name): Version(version) for name, version in LOCKED}
    for requirement in asked:
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier, requirement
