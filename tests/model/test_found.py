"""Ways that the machines have found, on which a message once ended wrong: they are gone again each time."""

import pytest

from tests.model.devices import SETTLED, Publication
from tests.model.divergence import Divergence, Lost
from tests.model.machine import Fate, Pipeline
from tests.model.world import Agent

TENANT = SETTLED[0]


@pytest.mark.usefixtures("no_waits_and_no_logs")
def test_a_chunk_that_is_emitted_again_in_another_epoch_is_not_taken_for_the_one_that_was_pushed() -> None:
    """Its value is the same, and it takes the first one's offset on metrics.unique before handoff looks."""
    ways = Divergence()
    ways.copies_are_made()
    ways.a_device_goes_back_to_an_earlier_value_and_kafka_has_forgotten_the_later(0, 1, restarted=False)
    ways.devices_publish([Publication(TENANT, 1, "a")])
    ways.the_end_of_one_log_is_lost(Lost.UNIQUE, 0, 1, restarted=False)
    ways.teardown()


@pytest.mark.usefixtures("no_waits_and_no_logs")
def test_a_worker_that_hangs_before_it_reads_the_fence_begins_no_epoch_of_its_own() -> None:
    """It looked at metrics.unique before its successor wrote there, and then it finds that one's fence."""
    ways = Pipeline()
    ways.every_partition_has_had_a_job_or_none(everywhere=False)
    ways.offsets_are_committed_at_once_or_never(commits=False)
    ways.devices_publish_and_all_of_it_is_carried([Publication(TENANT, 1, "a")])
    ways.the_raw_topic_is_recreated_and_grows_before_refine_looks(0)
    ways.a_partition_is_read_again(Agent.REFINE, 0, 0)
    ways.refine_catches_up(0)
    ways.the_raw_topic_is_recreated_and_grows_before_refine_looks(0)
    ways.a_device_repeats_itself_and_it_is_carried(0)
    ways.refine_goes_on_until_something_stops_it(0, 1, 1, Fate.IS_REPLACED, 0.0)
    ways.both_catch_up(0)
    ways.a_zombie_goes_on(0, 1, 1)
    ways.teardown()


@pytest.mark.usefixtures("no_waits_and_no_logs")
def test_a_worker_without_decisions_goes_on_in_the_epoch_that_another_has_begun_for_this_log() -> None:
    """The fence still names a record of the log before, which is gone: that was what it was begun for."""
    ways = Pipeline()
    ways.every_partition_has_had_a_job_or_none(everywhere=True)
    ways.offsets_are_committed_at_once_or_never(commits=False)
    ways.both_catch_up(0)
    ways.the_raw_topic_is_recreated_and_grows_before_refine_looks(0)
    ways.devices_publish_and_all_of_it_is_carried([Publication(TENANT, 1, "a")])
    ways.refine_goes_on_until_something_stops_it(0, 4, 1, Fate.IS_REPLACED, 0.0)
    ways.a_zombie_goes_on(0, 2, 1)
    ways.teardown()
