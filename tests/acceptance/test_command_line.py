"""``metric-streams`` and ``faust -A streams``: what an operator types, and what a mistake says."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from streams.commands.left_out import LEFT_OUT
from streams.commands.program import COMMANDS
from tests.conftest import real
from tests.parts.commands import REPOSITORY, WAYS, call
from tests.parts.process import find_program
from tests.parts.variants import long

BOTH = pytest.mark.parametrize("way", WAYS)
VERSION = version("metric-streams")
OF_FAUST = {"agents", "tables"}
BAD_SETTINGS = {"WEB_PORT": "seventy", "MQTT_RECEIVE_MAXIMUM": "0"}
COMPLETE = "_METRIC_STREAMS_COMPLETE"


@BOTH
def test_agents_lists_the_agents(way: str) -> None:
    done = call(way, "agents", "--local")
    assert done.returncode == 0, done.stderr
    for name in ("ingress", "refine", "handoff"):
        assert name in done.stdout


@BOTH
def test_tables_lists_the_table_with_what_it_holds(way: str) -> None:
    done = call(way, "tables")
    assert done.returncode == 0, done.stderr
    assert "seen" in done.stdout
    assert "decided" in done.stdout
    assert "Missing" not in done.stdout


@BOTH
@pytest.mark.parametrize("module", ["agents.ingress", long("agents.refine"), long("agents.handoff")])
def test_a_module_of_ours_that_does_not_import_fails_the_start(way: str, module: str, tmp_path: Path) -> None:
    hook = (
        "import sys\nsys.modules[{0!r}] = None\n"  # as Python itself marks a module that cannot be imported
    )
    (tmp_path / "sitecustomize.py").write_text(hook.format(module))
    done = call(way, "agents", PYTHONPATH=f"{tmp_path}{os.pathsep}{REPOSITORY}")
    assert done.returncode != 0
    assert module in done.stderr


@BOTH
def test_bad_settings_end_the_start_with_a_line_for_each(way: str) -> None:
    done = call(way, "agents", **BAD_SETTINGS)
    assert done.returncode == os.EX_CONFIG
    assert "WEB_PORT=seventy: must be a whole number from 1 to 65535" in done.stderr
    assert "MQTT_RECEIVE_MAXIMUM=0: must be" in done.stderr
    assert "Traceback" not in done.stderr


@BOTH
def test_the_commands_are_listed_with_what_they_do_and_the_others_are_not(way: str) -> None:
    done = call(way, "--help")
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert listed >= set(COMMANDS) - {"completion"}
    assert not listed & (set(LEFT_OUT) - set(COMMANDS))


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_help_needs_no_settings(arguments: tuple[str, ...]) -> None:
    done = call("metric-streams", *arguments, **BAD_SETTINGS)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("Usage: metric-streams ")
    for name, does in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert does in done.stdout


def test_every_command_is_one_of_ours_or_chosen_from_faust() -> None:
    modules = {path.stem for path in (REPOSITORY / "streams" / "commands").glob("*.py")}
    ours = modules - {"__init__", "base", "left_out", "pipe", "program", "selecting"}
    elsewhere = {"completion", "explain"}  # of Faust, and beside the steps that it runs
    assert set(COMMANDS) - OF_FAUST - elsewhere == ours


def is_help_of(name: str, told: str) -> None:
    """See that a help names its command as it is typed, and fits the narrowest terminal."""
    assert told.startswith(f"Usage: metric-streams {name} "), told
    assert all(len(line) <= 80 for line in told.splitlines()), told
    assert "faust" not in told.lower(), told


def test_the_help_of_a_command_names_it_as_it_is_typed_and_fits_80_columns() -> None:
    done = call("metric-streams", "doctor", "--help")
    assert done.returncode == 0, done.stderr
    is_help_of("doctor", done.stdout)


ALL_HELPS = """
import json
from click.testing import CliRunner
from streams.commands.program import COMMANDS, program
def ask(name):
    return CliRunner().invoke(program, [name, "--help"], prog_name="metric-streams", terminal_width=80).output
print(json.dumps({name: ask(name) for name in COMMANDS}))
"""


def test_so_does_the_help_of_each_other_command() -> None:
    """All in one process: a process each would take two minutes."""
    done = subprocess.run(
        [sys.executable, "-c", ALL_HELPS],
        capture_output=True, text=True, check=True, cwd=REPOSITORY, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    helps = json.loads(done.stdout)
    assert set(helps) == set(COMMANDS)
    for name, told in helps.items():
        is_help_of(name, told)


def test_version_is_the_project_s() -> None:
    done = call("metric-streams", "--version", **BAD_SETTINGS)
    assert (done.returncode, done.stdout) == (0, f"metric-streams {VERSION}\n")


@pytest.mark.parametrize(
    ("way", "name", "rest"),
    [
        ("faust", "send", ("X", "-y", "--zed=1")),
        *(long("faust", name, ("X", "-y", "--zed=1")) for name in LEFT_OUT if name != "send"),
        *(("metric-streams", name, ()) for name in sorted(set(LEFT_OUT) - set(COMMANDS))),
        ("faust", "reset", ()),
        ("faust", "reset", ("--help",)),
    ],
)
def test_a_command_of_faust_that_is_left_out_says_so_in_one_line(
    way: str, name: str, rest: tuple[str, ...]
) -> None:
    done = call(way, name, *rest)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"{way} {name} is left out: {LEFT_OUT[name]}"]


@pytest.mark.parametrize(
    ("shell", "holds"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete")]
)
def test_completion_prints_a_script(shell: str, holds: str) -> None:
    done = call("metric-streams", "completion", shell, **BAD_SETTINGS)
    assert done.returncode == 0
    assert holds in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("settings", [{}, BAD_SETTINGS])
@pytest.mark.parametrize(
    ("words", "offered"), [("metric-streams ", set(COMMANDS)), ("metric-streams in", {"ingest"})]
)
def test_the_shell_completes_commands(words: str, offered: set[str], settings: dict[str, str]) -> None:
    completing = {COMPLETE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "1"}
    done = call("metric-streams", **completing, **settings)
    assert {line.rpartition(",")[2] for line in done.stdout.split()} == offered
    assert done.stderr == ""


@pytest.mark.parametrize(("settings", "offered"), [({}, {"--until-empty"}), (BAD_SETTINGS, set())])
def test_the_shell_completes_options_where_the_settings_let_it(
    settings: dict[str, str], offered: set[str]
) -> None:
    completing = {COMPLETE: "bash_complete", "COMP_WORDS": "metric-streams ingest --un", "COMP_CWORD": "2"}
    done = call("metric-streams", **completing, **settings)
    assert {line.rpartition(",")[2] for line in done.stdout.split()} == offered
    assert done.stderr == ""


@BOTH
@pytest.mark.parametrize("bind", ["0.0.0.0", long("::"), long("192.0.2.1")])  # noqa: S104 - what is refused
def test_pages_beyond_loopback_are_refused_on_the_command_line_too(way: str, bind: str) -> None:
    done = call(way, "worker", "--web-bind", bind)
    assert done.returncode == os.EX_CONFIG
    assert done.stderr.splitlines() == [
        f"{way} worker: --web-bind={bind} is reachable from outside: set WEB_TOKEN, or bind 127.0.0.1"
    ]


@BOTH
@pytest.mark.parametrize("mistake", [("wroker",), ("worker", "--nothing"), ("ingest", "--concurrency", "0")])
def test_a_mistake_is_told_without_a_traceback(way: str, mistake: tuple[str, ...]) -> None:
    done = call(way, *mistake)
    assert done.returncode == 2
    assert f"Usage: {way}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_bash_script_is_one_that_bash_reads() -> None:
    script = call("metric-streams", "completion", "bash").stdout
    bash = real(lambda: find_program("bash", package="bash"))
    done = subprocess.run([bash, "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
