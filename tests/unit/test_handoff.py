"""handoff: what is no chunk of ours moves no fence and holds up nothing."""

import logging
from functools import partial

import pytest

from agents.handoff import Handoff
from agents.loop import Record
from streams.models import Origin, Reading
from streams.queue.fake import FakeJobQueue
from streams.statistics import Statistics
from streams.wire import unique
from streams.wire.job import decode_job, encode_job

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def record(offset: int, *, value: float = 1, epoch: bytes = b"5", origin: Origin | None = None) -> Record:
    reading = Reading(0, TENANT, "edge-1", "cpu", value, "2026-11-23 14:00:00.123456", None, "0f" * 16)
    encoded = unique.encode(origin or Origin(3, 100 + offset), [reading])
    return Record(3, offset, encoded, {"epoch": epoch})


@pytest.mark.parametrize(
    "foreign",
    [
        Record(3, 1, b"rubbish", {}),
        record(1, epoch=b"soon"),
        record(1, epoch=b""),
        record(1, epoch=b"9" * 5000),
        record(1, value=2**63),
        record(1, origin=Origin(2, 10**6)),
        record(1, origin=Origin(3, -1)),
    ],
    ids=["rubbish", "epoch", "empty epoch", "long epoch", "number", "partition", "offset"],
)
async def test_what_is_no_chunk_of_ours_is_passed_over_and_those_around_it_are_handed_off(
    foreign: Record, caplog: pytest.LogCaptureFixture
) -> None:
    queue = FakeJobQueue()
    handoff = Handoff(queue, topic="metrics.unique", derive_ids=True, statistics=Statistics())
    await handoff.hand_off([record(0)])
    with caplog.at_level(logging.ERROR):
        await handoff.hand_off([foreign])
    await handoff.hand_off([record(2)])
    assert len(queue.jobs) == 2
    assert queue.redis.fences["3"] == "5:102:2"
    assert [r.message for r in caplog.records if "offset 1 is no chunk of ours" in r.message]


async def test_a_job_names_the_classes_and_the_connection_of_the_application() -> None:
    queue = FakeJobQueue()
    encode = partial(encode_job, job_class=r"Acme\Ingest", model_class=r"Acme\Client", model_connection=None)
    await Handoff(
        queue, topic="metrics.unique", derive_ids=True, statistics=Statistics(), encode=encode
    ).hand_off([record(0)])
    (job,) = queue.jobs
    assert decode_job(job, job_class=r"Acme\Ingest").tenant_id == TENANT
    assert rb"s:5:\"class\";s:11:\"Acme\\Client\";" in job
    assert rb"s:10:\"connection\";N;" in job
