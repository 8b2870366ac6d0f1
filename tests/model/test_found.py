"""Ways that the machines have found, on which a message once ended wrong: they are gone again each time."""

import pytest

from tests.model.devices import SETTLED, Publication
from tests.model.divergence import Divergence, Lost

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
