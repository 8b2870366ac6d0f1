"""Makes the clients of Kafka: each reaches it alike, and every producer writes by one policy.

Faust makes its consumer and its producer itself (`streams.kafka.consumer`, `streams.kafka.producer`). How
they reach Kafka comes from `streams.kafka.connection`, what the producer waits for from `durability`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.connection import connection_options
from streams.settings import Settings

PRODUCE_TIMEOUT_MS = 40_000
"""For the answer to a batch, which a broker gives when all copies in sync have it."""
ADMIN_TIMEOUT_MS = 10_000


class _Starting(Protocol):
    """A client of aiokafka."""

    async def start(self) -> Any:
        """Connect."""
        ...


Client = TypeVar("Client", bound=_Starting)


def durability(settings: Settings) -> dict[str, Any]:
    """Return by what a producer takes a record for written: all copies in sync have it, once and in order.

    PRODUCER_IDEMPOTENCE is off only where the broker knows no such producers (Tansu).
    """
    return {"acks": "all", "enable_idempotence": settings.producer_idempotence}


def compression(settings: Settings) -> str | None:
    """Return how batches are compressed, as aiokafka names it."""
    return None if settings.compression == "none" else settings.compression


def new_producer(
    settings: Settings, purpose: str, make: Callable[..., Any] = AIOKafkaProducer, **options: Any
) -> Any:
    """Return a producer, not yet started.

    Args:
        settings: say where Kafka is, and how a record is written.
        purpose: behind the group's name, what the client is called at Kafka.
        make: its class.
        options: aiokafka's, beside those of the policy or, with a reason, instead of them.
    """
    policy = {
        **durability(settings),
        "compression_type": compression(settings),
        "request_timeout_ms": PRODUCE_TIMEOUT_MS,
    }
    return make(**connection_options(settings), client_id=_name(settings, purpose), **policy | options)


def new_consumer(settings: Settings, purpose: str, **options: Any) -> AIOKafkaConsumer:
    """Return a consumer without a group, not yet started: it moves nobody's position.

    Args:
        settings: say where Kafka is.
        purpose: behind the group's name, what the client is called at Kafka.
        options: aiokafka's.
    """
    return AIOKafkaConsumer(
        **connection_options(settings),
        client_id=_name(settings, purpose),
        enable_auto_commit=False,
        **options,
    )


def new_admin(settings: Settings, *, timeout_ms: int = ADMIN_TIMEOUT_MS) -> AIOKafkaAdminClient:
    """Return a client that asks about topics and groups, not yet started."""
    return AIOKafkaAdminClient(**connection_options(settings), request_timeout_ms=timeout_ms)


@asynccontextmanager
async def administering(
    settings: Settings, *, timeout_ms: int = ADMIN_TIMEOUT_MS
) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield such a client, connected.

    Raises:
        KafkaError: Kafka does not answer.
    """
    admin = new_admin(settings, timeout_ms=timeout_ms)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def started(client: Client, stop: Callable[[], Awaitable[object]]) -> Client:
    """Start a client and return it; where that fails, stop it.

    aiokafka leaves the connections and the tasks of a client that did not start, and warns of them when it is
    collected.
    """
    async with AsyncExitStack() as unless_started:
        unless_started.push_async_callback(stop)
        await client.start()
        unless_started.pop_all()
    return client


def _name(settings: Settings, purpose: str) -> str:
    return f"{settings.consumer_group}-{purpose}"
