"""A pipeline whose parts may be set back, made anew and cut."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance.conftest import Own, Pipeline
from tests.acceptance.histories.pipeline import PARTITIONS, Histories, add_tenants_of_each_partition
from tests.conftest import real
from tests.parts.kafka import Kafka
from tests.parts.redis import Redis

ONE_EACH = {"CHUNK_LINGER_MS": "0", "CHUNK_MAX_MESSAGES": "1"}
"""A record for each message, so that a place in the log is a message."""


@pytest.fixture(scope="package")
def kafka() -> Iterator[Kafka]:
    """A Kafka that may be set back: the one that other tests share may not."""
    with real(Kafka) as part:
        yield part


@pytest.fixture
async def histories(pipeline: Pipeline, kafka: Kafka, own: Own) -> AsyncIterator[Histories]:
    """A pipeline of two partitions; nothing of it runs yet."""
    redis: Redis = own(lambda: Redis(append_only=True))
    pipeline.environment |= {"TOPIC_PARTITIONS": str(PARTITIONS), "REDIS_URL": redis.url, **ONE_EACH}
    await add_tenants_of_each_partition(pipeline)
    made = Histories(pipeline, redis)
    yield made
    for worker in made.workers:
        worker.remove()
    kafka.heal()
