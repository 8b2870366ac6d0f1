"""The project as it is installed on a server: without extras, away from its sources."""

import re

import pytest

from tests.acceptance.conftest import Pipeline
from tests.parts.installed import Installation, InstalledWorker

ALARMING = re.compile(r"^.*\[(?:WARNING|ERROR|CRITICAL)\].*$|^Traceback.*$", re.MULTILINE)


@pytest.mark.parametrize("how", ["faust"])
def test_an_ordinary_start_and_stop_of_a_worker_logs_nothing_at_warning(
    installation: Installation, pipeline: Pipeline, how: str
) -> None:
    worker = pipeline.own(lambda: InstalledWorker(getattr(installation, how), pipeline.environment))
    worker.stop()
    log = worker.log_text()
    assert "Signal received" in log
    assert ALARMING.findall(log) == []
