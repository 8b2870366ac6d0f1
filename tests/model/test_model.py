"""The whole pipeline against a model of it: whatever is lost, late or doubled, each message ends as it must.

Ingress, refine and handoff are the real ones, between the fakes that ship beside the real ports.
``MODEL_STEPS`` makes it go on for longer, on ways that nobody has gone before.
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
IN_CI = bool(os.environ.get("CI"))
STEPS = int(os.environ.get("MODEL_STEPS", STEPS_IN_CI if IN_CI else STEPS_AT_HOME))
RUNS = ceil(2 * STEPS / STEPS_A_RUN)
"""More than enough: hypothesis ends some runs early."""


@pytest.fixture
def _no_waits_and_no_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Try again at once after an outage, and spare the logs of thousands of them."""
    monkeypatch.setattr(loop, "RETRY_FIRST_S", 0.0)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_no_waits_and_no_logs")
def test_whatever_happens_every_message_ends_as_it_must() -> None:
    Pipeline.steps = 0
    run_state_machine_as_test(
        Pipeline,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS_A_RUN,
            deadline=None,
            # A failure is to come again: the blob that is printed brings back that very run.
            print_blob=True,
            # CI says of a change whether it broke something, so it goes the same ways as the run before it.
            derandomize=IN_CI and "MODEL_STEPS" not in os.environ,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    assert Pipeline.steps >= STEPS
