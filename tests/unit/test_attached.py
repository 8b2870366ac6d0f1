"""Commands find the `./dev run` that is under way, and no other one."""

import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from streams.commands.program import COMMANDS
from streams.embedded import attached
from streams.embedded.__main__ import HANDED_ON

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {"REDIS_URL": "redis://127.0.0.1:1/0?a=b", "WEB_PORT": "7"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "temporary_directory", lambda: tmp_path)


def directory(place: Path, name: str) -> Path:
    made = place / f"metric-streams-{name}"
    made.mkdir()
    return made


def test_the_settings_of_a_run_are_found_while_it_lasts_and_are_nobody_elses(tmp_path: Path) -> None:
    assert attached.newest_run() is None
    made = directory(tmp_path, "one")
    with attached.attachable(made, SETTINGS):
        assert attached.newest_run() == SETTINGS
        assert (made / attached.FILE).stat().st_mode & 0o077 == 0
    assert attached.newest_run() is None


def test_of_several_runs_the_newest_counts(tmp_path: Path) -> None:
    with attached.attachable(directory(tmp_path, "one"), SETTINGS):
        newer = directory(tmp_path, "two")
        with attached.attachable(newer, {"WEB_PORT": "8"}):
            os.utime(newer / attached.FILE, (2**32, 2**32))
            assert attached.newest_run() == {"WEB_PORT": "8"}


@pytest.mark.parametrize(
    "content", ["", "# of process 2147483600\nWEB_PORT=9\n", "# of process x\n", "nonsense"]
)
def test_what_a_killed_run_has_left_is_passed_over(tmp_path: Path, content: str) -> None:
    (directory(tmp_path, "dead") / attached.FILE).write_text(content)
    assert attached.newest_run() is None


def test_without_a_run_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.embedded", "tail", "rejected"],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("./dev tail: no ./dev run runs here")
    assert len(done.stderr.splitlines()) == 1


def test_dev_hands_on_what_the_stack_takes() -> None:
    loader = SourceFileLoader("dev_of_attached", str(REPOSITORY / "dev"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    dev = module_from_spec(spec)
    loader.exec_module(dev)
    assert list(dev.ON_A_RUN) == list(HANDED_ON[1:])
    assert {"tail", "trace", "explain", "doctor", "tenants", "simulate"} <= COMMANDS.keys()
