"""What redis-py raises, as an outage."""

from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from streams.errors import Outage, worded


async def answered(call: Awaitable[Any]) -> Any:
    """Await Redis; whatever redis-py raises is an outage, a refusal (read-only, out of memory) as well.

    Raises:
        Outage: Redis gave no answer, or refused.
    """
    try:
        return await call
    except (RedisError, OSError) as error:
        raise Outage("redis", worded(error)) from error
