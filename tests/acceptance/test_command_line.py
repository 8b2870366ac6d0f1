"""``faust -A streams``: what an operator types, and what a mistake says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def _faust(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "faust", "-A", "streams", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | environment,
    )


def test_agents_lists_the_agents() -> None:
    done = _faust("agents", "--local")
    assert done.returncode == 0, done.stderr
    for name in ("ingress", "refine", "handoff"):
        assert name in done.stdout


@pytest.mark.parametrize("module", ["agents.ingress", "agents.refine", "agents.handoff"])
def test_a_module_of_ours_that_does_not_import_fails_the_start(module: str, tmp_path: Path) -> None:
    hook = (
        "import sys\nsys.modules[{0!r}] = None\n"  # as Python itself marks a module that cannot be imported
    )
    (tmp_path / "sitecustomize.py").write_text(hook.format(module))
    done = _faust("agents", PYTHONPATH=f"{tmp_path}{os.pathsep}{REPOSITORY}")
    assert done.returncode != 0
    assert module in done.stderr


def test_bad_settings_end_the_start_with_a_line_for_each() -> None:
    done = _faust("agents", WEB_PORT="seventy", MQTT_RECEIVE_MAXIMUM="0")
    assert done.returncode == 1
    assert "WEB_PORT='seventy'" in done.stderr
    assert "MQTT_RECEIVE_MAXIMUM='0'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_commands_are_listed_with_what_they_do() -> None:
    done = _faust("--help")
    for name in ("worker", "ingest", "setup", "simulate", "tenants"):
        assert name in done.stdout
