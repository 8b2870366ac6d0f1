"""The measurement beside a hostile tenant, of a pipeline that is a few lines long."""

import pytest

from benchmarks.hostile import NOTHING, Pair, Scene
from benchmarks.stack import Run
from tests.integration.brief_pipeline import brief_pipeline
from tests.parts.eventually import eventually
from tests.parts.mosquitto import Mosquitto

PAIR = Pair("7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90ae8")


@pytest.mark.parametrize("kind", [NOTHING, "strangers"])
async def test_each_message_of_the_honest_tenant_is_found_in_its_job(
    mosquitto: Mosquitto, redis_url: str, kind: str
) -> None:
    run = Run("bench", mosquitto, {}, {"REDIS_URL": redis_url})
    with brief_pipeline(run) as client:
        await eventually(client.is_connected, 10)
        figures = Scene(run, kind, PAIR).measured(0.3, 60)
    assert figures["not_come"] == 0
    assert (figures["hostile_a_s"] == 0) is (kind == NOTHING)
    assert 0 < figures["p50"] <= figures["p99"] <= figures["max"]  # type: ignore[operator] # numbers
    assert figures["until_ingress"]["max"] <= figures["max"]  # type: ignore[index,operator] # numbers
