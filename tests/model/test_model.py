"""The whole pipeline against a model of it: whatever is lost, late or doubled, each message ends as it must.

Between the fakes that ship beside the real ports. ``MODEL_STEPS`` makes it go on for longer.
"""

import logging
import os
from collections.abc import Iterator
from math import ceil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from agents import loop
from tests.model.machine import Pipeline

STEPS_A_RUN = 50
STEPS_IN_CI, STEPS_AT_HOME = 12_500, 2_000


@pytest.fixture
def _no_waits_and_no_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Try again at once after an outage, and spare the logs of thousands of them."""
    monkeypatch.setattr(loop, "RETRY_FIRST_S", 0.0)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_no_waits_and_no_logs")
def test_whatever_happens_every_message_ends_as_it_must() -> None:
    in_ci = bool(os.environ.get("CI"))
    wanted = int(os.environ.get("MODEL_STEPS", STEPS_IN_CI if in_ci else STEPS_AT_HOME))
    Pipeline.steps = 0
    run_state_machine_as_test(
        Pipeline,
        settings=settings(
            max_examples=ceil(1.4 * wanted / STEPS_A_RUN),
            stateful_step_count=STEPS_A_RUN,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
    assert Pipeline.steps >= wanted
