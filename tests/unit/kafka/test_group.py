"""The group as Kafka describes it, where there is no Kafka."""

import pytest

from streams.errors import Outage
from streams.kafka.group import KafkaGroup
from streams.settings import Settings
from tests.parts.ports import free_port


async def test_a_kafka_that_is_away_is_none_that_describes_no_group() -> None:
    group = KafkaGroup(Settings(broker_url=f"kafka://127.0.0.1:{free_port()}"), ["metrics.raw"])
    with pytest.raises(Outage, match="no connection"):
        await group.standing()
    await group.close()
