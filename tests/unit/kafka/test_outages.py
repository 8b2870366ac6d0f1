"""A Kafka that is away is told in words, without what its library calls it."""

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from streams.kafka.outages import as_outage
from streams.settings import Settings

SETTINGS = Settings(broker_url="kafka://127.0.0.1:1")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KafkaConnectionError("Unable to bootstrap from [...]"), "gives no answer (BROKER_URL says where"),
        (TimeoutError(), "gives no answer in time"),
        (TopicAuthorizationFailedError("metrics.raw"), "TopicAuthorizationFailedError"),
        (OSError("the line\nis cut"), "the line is cut"),
    ],
)
async def test_it_says_where_and_what_on_one_line(error: BaseException, says: str) -> None:
    told = await as_outage(SETTINGS, error)
    assert told.part == "kafka"
    assert says in told.detail
    assert "kafka://127.0.0.1:1" in told.detail
    assert "\n" not in told.detail
    assert "KafkaConnectionError" not in told.detail
