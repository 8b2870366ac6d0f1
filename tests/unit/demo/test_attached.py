"""Commands find the `./dev run` that is under way, and no other one."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from streams.commands.program import COMMANDS
from streams.demo import attached
from streams.demo.__main__ import HANDED_ON
from streams.demo.psql import environment

REPOSITORY = Path(__file__).parents[3]
SETTINGS = {"REDIS_URL": "redis://127.0.0.1:1/0?a=b", "WEB_PORT": "7"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "temporary_directory", lambda: tmp_path)


def directory(place: Path, name: str) -> Path:
    made = place / f"metric-streams-{name}"
    made.mkdir()
    return made


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """One that other users get through: else a run of root's looks in /tmp, and finds those of others."""
    with tempfile.TemporaryDirectory(prefix="ms-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def call(*arguments: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams.demo", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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


def test_a_run_of_another_checkout_is_not_taken_but_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(attached, "ROOT", tmp_path / "elsewhere")
        run = attached.attachable(directory(tmp_path, "other"), SETTINGS)
        run.__enter__()
    assert attached.newest_run() is None
    with pytest.raises(SystemExit, match=f"there is one of {tmp_path / 'elsewhere'}"):
        attached.call_on_a_run("rejected", ["replay", "--yes"])
    with attached.attachable(directory(tmp_path, "ours"), {"WEB_PORT": "8"}):
        assert attached.newest_run() == {"WEB_PORT": "8"}
    run.__exit__(None, None, None)


@pytest.mark.parametrize("command", HANDED_ON[1:])
def test_help_needs_no_run(tmp_path: Path, command: str) -> None:
    done = call(command, "--help", tmp_path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_psql_goes_to_the_newest_run(tmp_path: Path) -> None:
    with attached.attachable(directory(tmp_path, "one"), {"DATABASE_URL": "postgresql://p@127.0.0.1:4711/p"}):
        assert environment({"PGPORT": "1"}, attached.newest_run())["PGPORT"] == "4711"
    assert "PGPORT" not in environment({"PGPORT": "1"}, attached.newest_run())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# of process 2147483600\n# from x\nWEB_PORT=9\n",
        "# of process x\n# from x\n",
        f"# of process {os.getpid()}\nWEB_PORT=9\n",
        "nonsense",
    ],
    ids=["empty", "ended", "no process", "without its source", "nonsense"],
)
def test_what_a_killed_run_has_left_is_passed_over(tmp_path: Path, content: str) -> None:
    (directory(tmp_path, "dead") / attached.FILE).write_text(content)
    assert attached.newest_run() is None


def test_without_a_run_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    done = call("tail", "rejected", tmp_path=tmp_path)
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
