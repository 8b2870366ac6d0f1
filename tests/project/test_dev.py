"""./dev, as far as it can be held without a package index; and the lock file that it installs."""

import errno
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / "requirements.lock").read_text()
LOCKED = re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE)
ON_A_RUN = ["doctor", "tail", "top", "trace", "explain", "rejected", "devices", "tenants", "simulate"]
COMMANDS = [
    "run",
    "psql",
    *ON_A_RUN,
    "test",
    "check",
    "bench",
    "faults",
    "mutants",
    "docs",
    "measures",
    "lock",
    "sbom",
    "audit",
]


class Commands(list[list[str]]):
    """Stands in for what runs commands: remembers them, and does what a few of them leave behind.

    Attributes:
        failing: a command that has one of these words fails, and says what stands beside the word.
    """

    def __init__(self, dev: ModuleType) -> None:
        super().__init__()
        self.dev = dev
        self.failing: dict[str, str] = {}

    def run(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        """Stand in for subprocess.run."""
        if "-c" in command:  # what a Python is asked for its version
            return subprocess.CompletedProcess(command, 0, "3.12.1\n", "")
        code, said = self.watched(command)
        return subprocess.CompletedProcess(command, code, "\n".join(said), "")

    def watched(self, command: Sequence[str]) -> tuple[int, list[str]]:
        """Stand in for watched."""
        self.append(list(command))
        if "venv" in command:
            shutil.rmtree(self.dev.VENV, ignore_errors=True)
            self.dev.PYTHON.parent.mkdir(parents=True)
            self.dev.PYTHON.touch()
        said = [self.failing[word] for word in command if word in self.failing]
        return len(said), said

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
    monkeypatch.setattr(dev.subprocess, "run", seen.run)
    monkeypatch.setattr(dev, "watched", seen.watched)
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
    commands.failing = {"sync": "error: Failed to fetch"}
    dev.install()
    assert commands.names() == ["venv", "pip", "uv sync", "pip", "project"]
    assert dev.stamp() == [dev.place(), dev.fingerprint()]


def test_an_installation_that_failed_is_told_and_tried_again(
    dev: ModuleType, commands: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dev", "check"])
    commands.failing = {"--editable": "error: invalid pyproject.toml"}
    assert dev.main() == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == [
        "error: invalid pyproject.toml",
        "./dev: the project could not be installed; the lines above say why",
    ]
    commands.clear()
    commands.failing = {}
    dev.install()
    assert commands.names() == ["venv", "pip", "uv sync", "project"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("error: failed to create file: No space left on device (os error 28)", "the disk is full"),
        ("error: Disk quota exceeded (os error 122)", "the disk is full"),
        ("OSError: [Errno 30] Read-only file system: '/x'", "cannot be written"),
        ("error: Permission denied (os error 13)", "cannot be written"),
        ("WARNING: Retrying: [Errno -2] Name or service not known", "the package index cannot be reached"),
        ("NewConnectionError: [Errno 111] Connection refused", "the package index cannot be reached"),
        ("ReadTimeoutError: Read timed out.", "the package index cannot be reached"),
        ("SSLError: certificate verify failed", "the package index cannot be reached"),
        ("ERROR: No matching distribution found for uv==0", "the lines above say why"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "the lines above say why"),
    ],
)
def test_what_failed_is_told_for_what_it_is(
    dev: ModuleType, commands: Commands, said: str, told: str
) -> None:
    commands.failing = {"-r": said}
    with pytest.raises(dev.DevError, match=told):
        dev.install()


def test_a_full_disk_is_not_tried_again_with_pip(dev: ModuleType, commands: Commands) -> None:
    commands.failing = {"sync": "No space left on device (os error 28)"}
    with pytest.raises(dev.DevError, match=r"the disk is full \(.+ has \d+ MB"):
        dev.install()
    assert commands.names() == ["venv", "pip", "uv sync"]


def test_without_a_network_what_was_made_is_kept_for_the_next_call(
    dev: ModuleType, commands: Commands
) -> None:
    dev.install()
    (dev.ROOT / "requirements.lock").write_text(LOCK + "\n# changed\n")
    commands.failing = {"sync": "dns error", "-r": "dns error"}
    with pytest.raises(dev.DevError, match="cannot be reached"):
        dev.install()
    commands.clear()
    commands.failing = {}
    dev.install()
    assert "venv" not in commands.names()


def test_a_venv_that_was_moved_or_left_unfinished_is_made_again(
    dev: ModuleType, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    dev.install()
    for spoil in (dev.STAMP.unlink, lambda: dev.STAMP.write_text(f"/elsewhere python\n{dev.fingerprint()}")):
        spoil()
        commands.clear()
        capsys.readouterr()
        dev.install()
        assert commands.names() == ["venv", "pip", "uv sync", "project"]
        assert "in place of one that was unfinished or made elsewhere" in capsys.readouterr().err


def test_a_venv_whose_base_is_now_another_python_is_made_again(dev: ModuleType, commands: Commands) -> None:
    dev.install()
    for name in ("python3.11", "python3.13"):
        (dev.ROOT / name).touch()
    dev.PYTHON.unlink()
    dev.PYTHON.symlink_to(dev.ROOT / "python3.11")
    dev.STAMP.write_text(f"{dev.place()}\n{dev.fingerprint()}")
    commands.clear()
    dev.install()
    assert commands == []
    dev.PYTHON.unlink()
    dev.PYTHON.symlink_to(dev.ROOT / "python3.13")
    dev.install()
    assert commands.names()[0] == "venv"


def test_another_python_than_that_of_the_venv_is_told_which_one_runs(
    dev: ModuleType,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dev.install()
    assert commands
    (dev.ROOT / "python3.12").touch()
    dev.PYTHON.unlink()
    dev.PYTHON.symlink_to(dev.ROOT / "python3.12")
    dev.STAMP.write_text(f"{dev.place()}\n{dev.fingerprint()}")
    capsys.readouterr()
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    dev.install()
    told = "./dev: .venv was made with python3.12 and runs that, not python3.13 (to change it: rm -r .venv)\n"
    assert capsys.readouterr().err == told
    monkeypatch.setattr(sys, "version_info", (3, 12, 4))
    dev.install()
    assert capsys.readouterr().err == ""


def test_a_place_that_cannot_be_written_is_told_in_one_line(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dev.ROOT / ".dev.lock"))

    monkeypatch.setattr(sys, "argv", ["dev", "test"])
    monkeypatch.setattr(dev, "only_one", refuse)
    assert dev.main() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Read-only file system" in said
    assert "Clone to where you may write" in said


def test_a_step_shows_where_it_is_and_returns_all_it_said(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "SHOWN_EVERY_S", 0.01)
    monkeypatch.setattr(dev, "TOLD_EVERY_S", 0.0)
    code = "import sys; print('first'); print('last', file=sys.stderr, flush=True); input(); sys.exit(3)"
    program = f"import time; time.sleep(.3)\ntry:\n  {code}\nexcept EOFError:\n  time.sleep(.3); sys.exit(3)"
    assert dev.watched([sys.executable, "-u", "-c", program]) == (3, ["first", "last"])
    assert re.search(r"^\./dev: \d+ s  last$", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize("name", ["check", "lock"])
def test_help_of_a_command_of_our_own_runs_and_installs_nothing(tmp_path: Path, name: str) -> None:
    shutil.copy(REPOSITORY / "dev", tmp_path)
    shown = subprocess.run([tmp_path / "dev", name, "--help"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith(f"usage: ./dev {name}")
    assert [path.name for path in tmp_path.iterdir()] == ["dev"]


def test_check_refuses_arguments(dev: ModuleType, commands: Commands) -> None:
    with pytest.raises(dev.DevError, match="takes no arguments, but was given tests/unit"):
        dev.check(["tests/unit"])
    assert commands == []


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
    commands.failing = {"mypy": "error", "--check": "error"}
    with pytest.raises(dev.DevError, match="check failed: format, types"):
        dev.check([])
    assert len(commands) == 4


@pytest.mark.parametrize(("name", "path"), [("bench", "benchmarks"), ("faults", "tests/faults")])
def test_what_a_checkout_lacks_is_said_plainly(dev: ModuleType, name: str, path: str) -> None:
    with pytest.raises(dev.DevError, match=f"this checkout has no {path}/__main__.py"):
        dev.COMMANDS[name]([])


Versions = dict[str, str | None]


@pytest.fixture
def pythons(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Versions:
    """The Pythons on PATH and their versions; None for one that does not start, or makes no environments."""
    there: Versions = {}
    monkeypatch.setattr(dev.shutil, "which", lambda name: f"/bin/{name}" if f"/bin/{name}" in there else None)
    monkeypatch.setattr(dev, "version_with_venv", there.get)
    return there


def test_a_python_that_is_too_old_is_told_so(
    dev: ModuleType, pythons: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    pythons[sys.executable] = "3.9.2"
    with pytest.raises(dev.DevError, match=r"Python 3\.11 to 3\.14 is needed, but .+ and PATH has no other"):
        dev.base_python()


@pytest.mark.parametrize("minor", range(11, 15))
def test_the_python_that_calls_is_taken_if_there_are_wheels_for_it(
    dev: ModuleType, pythons: Versions, monkeypatch: pytest.MonkeyPatch, minor: int
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, minor, 0))
    pythons |= {sys.executable: f"3.{minor}.0", "/bin/python3.12": "3.12.1"}
    assert dev.base_python() == (sys.executable, f"3.{minor}.0")


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 15, 0)])
def test_of_another_python_one_on_path_is_taken_that_works(
    dev: ModuleType, pythons: Versions, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    pythons |= {
        sys.executable: ".".join(map(str, version)),
        "/bin/python3.13": None,
        "/bin/python3.12": "3.12.1",
    }
    assert dev.base_python() == ("/bin/python3.12", "3.12.1")


def test_a_python_newer_than_all_wheels_is_tried_where_there_is_no_other(
    dev: ModuleType, pythons: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 15, 0))
    pythons |= {sys.executable: "3.15.0"}
    assert dev.base_python() == (sys.executable, "3.15.0")


def test_a_python_without_venv_gives_way_to_one_with_it_or_is_told_what_to_install(
    dev: ModuleType, pythons: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 11, 2))
    with pytest.raises(dev.DevError, match="apt-get install python3-venv"):
        dev.base_python()
    pythons["/bin/python3.13"] = "3.13.0"
    assert dev.base_python() == ("/bin/python3.13", "3.13.0")


def test_a_program_that_is_no_python_has_no_version(dev: ModuleType, tmp_path: Path) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'no such version is installed' >&2\nexit 127\n")
    shim.chmod(0o755)
    assert dev.version_with_venv(str(shim)) is None
    assert dev.version_with_venv(sys.executable) == platform.python_version()


def test_what_the_installation_itself_needs_is_locked_for_every_platform() -> None:
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]["requires"]
    for name in ("uv", *(Requirement(line).name for line in build)):
        assert re.search(rf"^{name}==\S+ \\$", LOCK, re.MULTILINE), f"{name} has a marker, or is missing"


def test_what_the_embedded_stack_needs_is_locked_for_every_python_of_linux_and_macos() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for requirement in map(Requirement, extras["embedded"]):
        [marker] = re.findall(
            rf"^{canonicalize_name(requirement.name)}==\S+(?: ; (.*))? \\$", LOCK, re.MULTILINE
        )
        assert marker in ("", "sys_platform != 'win32'"), requirement


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
