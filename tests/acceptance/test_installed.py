"""The project as it is installed on a server: without extras, away from its sources."""

import os
import re
import subprocess
import uuid
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.acceptance.conftest import Pipeline
from tests.parts.installed import Installation, InstalledWorker

ALARMING = re.compile(r"^.*\[(?:WARNING|ERROR|CRITICAL)\].*$|^Traceback.*$", re.MULTILINE)
LOGGED = re.compile(r"^\[.*\[(?:INFO|WARNING|ERROR|CRITICAL)\] (.*?) *$", re.MULTILINE)
NAMES = ("streams", "agents", "tables", "faust")
FOREIGN = "raise SystemExit('a foreign module was imported')\n"


@pytest.mark.parametrize("how", ["faust", "metric_streams"])
def test_an_ordinary_start_and_stop_of_a_worker_logs_nothing_at_warning(
    installation: Installation, pipeline: Pipeline, how: str
) -> None:
    # The default id is warned of where the broker asks for no login: whoever runs on one sets another.
    settings = {**pipeline.environment, "MQTT_CLIENT_ID": f"bridge-{uuid.uuid4()}"}
    worker = pipeline.own(lambda: InstalledWorker(getattr(installation, how), settings))
    worker.stop()
    log = worker.log_text()
    assert "Signal received" in log
    assert ALARMING.findall(log) == []
    product = f"metric-streams {version('metric-streams')}"
    assert product in log.splitlines()[0]  # the table
    assert LOGGED.findall(log)[0].startswith(f"{product} starts as a worker")


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("{}.py", None),
        ("{}/__init__.py", None),
        ("{}.py", ":"),
        ("{}/__init__.py", "/opt/lib:"),
        ("{}.py", ".:/opt/lib"),
        ("{}/__init__.py", "../{here}"),
    ],
)
def test_whatever_the_current_directory_holds_the_installed_package_is_imported(
    installation: Installation, tmp_path: Path, file: str, path: str | None
) -> None:
    for name in NAMES:
        module = tmp_path / file.format(name)
        module.parent.mkdir(exist_ok=True)
        module.write_text(FOREIGN)
    done = subprocess.run(
        [*installation.metric_streams, "agents", "--local"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]} | _python_path(path, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(name in done.stdout for name in ("ingress", "refine", "handoff"))


def test_a_worker_runs_in_such_a_directory(installation: Installation, pipeline: Pipeline) -> None:
    def start() -> InstalledWorker:
        worker = InstalledWorker(installation.metric_streams, pipeline.environment)
        for name in NAMES:
            (worker.directory / f"{name}.py").write_text(FOREIGN)
        return worker

    assert pipeline.own(start).status("/health/ready") == 200


def test_without_the_extra_an_endpoint_for_traces_refuses_the_start_and_names_the_extra(
    installation: Installation, tmp_path: Path
) -> None:
    """An operator who asks for traces must not find out later that there are none."""
    done = subprocess.run(
        [*installation.metric_streams, "agents", "--local"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == os.EX_CONFIG
    (line,) = done.stderr.splitlines()
    assert "there is no opentelemetry" in line
    assert "metric-streams[otel]" in line


def _python_path(path: str | None, here: Path) -> dict[str, str]:
    if path is None:
        return {}
    return {"PYTHONPATH": path.format(here=here.name).replace(":", os.pathsep)}
