"""A worker that refuses to start says why, in one line, with the mend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.acceptance.conftest import Pipeline
from tests.parts.ports import free_port
from tests.parts.topics import eventually_stands

REPOSITORY = Path(__file__).parents[2]


def _start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "faust", "-A", "streams", "worker", "-l", "info"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env=kept | {"PYTHONPATH": str(REPOSITORY), "WEB_PORT": str(free_port())} | environment,
    )


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line about the refusal."""
    assert done.returncode not in (0, None)
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    (line,) = [line for line in output.splitlines() if "the worker does not start" in line]
    return line


@pytest.mark.parametrize("how", ["NO_CYTHON", "missing"])
def test_on_the_pure_python_faust_the_worker_does_not_start(how: str, tmp_path: Path) -> None:
    hook = "import sys\nsys.modules['faust._cython.streams'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hook if how == "missing" else "")
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    line = _told(_start({"PYTHONPATH": path} | ({"NO_CYTHON": "1"} if how == "NO_CYTHON" else {})))
    assert "faust._cython.streams" in line
    assert "pip install" in line


async def test_on_a_topic_that_is_unsafe_the_worker_does_not_start(pipeline: Pipeline) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka.bootstrap)
    await admin.start()
    configs = {"cleanup.policy": "compact", "max.message.bytes": "4194304"}
    await admin.create_topics([NewTopic(f"{pipeline.topics}.raw", 4, 1, topic_configs=configs)])
    await admin.close()
    await eventually_stands(pipeline.kafka.bootstrap, f"{pipeline.topics}.raw")
    line = _told(_start(pipeline.environment))
    assert "cleanup.policy=compact" in line
    assert "kafka-configs" in line
