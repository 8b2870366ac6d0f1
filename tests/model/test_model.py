"""The whole pipeline against a model of it: whatever is lost, late or doubled, each message ends as it must.

Ingress, refine and handoff are the real ones, between the fakes that ship beside the real ports.
``MODEL_STEPS`` makes it go on for longer, on ways that nobody has gone before.
"""

import os
from math import ceil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.divergence import Divergence
from tests.model.machine import Pipeline

STEPS_A_RUN: dict[type[Pipeline] | type[Divergence], int] = {Pipeline: 50, Divergence: 15}
"""Where histories diverge the end of a run tells, so it must not be too far from what went wrong."""
SHARE: dict[type[Pipeline] | type[Divergence], int] = {Pipeline: 1, Divergence: 4}
"""One step of so many: those where histories diverge take longer."""
STEPS_IN_CI, STEPS_AT_HOME = 4_000, 1_000
IN_CI = bool(os.environ.get("CI"))
STEPS = int(os.environ.get("MODEL_STEPS", STEPS_IN_CI if IN_CI else STEPS_AT_HOME))


@pytest.mark.usefixtures("no_waits_and_no_logs")
@pytest.mark.parametrize("machine", [Pipeline, Divergence])
def test_whatever_happens_every_message_ends_as_it_must(machine: type[Pipeline] | type[Divergence]) -> None:
    machine.steps, steps = 0, STEPS // SHARE[machine]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=ceil(2 * steps / STEPS_A_RUN[machine]),  # more than enough: some runs end early
            stateful_step_count=STEPS_A_RUN[machine],
            deadline=None,
            # A failure is to come again: the blob that is printed brings back that very run.
            print_blob=True,
            # CI says of a change whether it broke something, so it goes the same ways as the run before it.
            derandomize=IN_CI and "MODEL_STEPS" not in os.environ,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    assert machine.steps >= steps
