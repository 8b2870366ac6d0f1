"""What redis-py raises, as an outage."""

from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from streams.errors import Outage
from streams.laravel.redis_refusals import refused, sort, told
from streams.tls import REDIS, tls_fault


async def answered(call: Awaitable[Any]) -> Any:
    """Await Redis; whatever redis-py raises is an outage, a refusal (read-only, out of memory) as well.

    Raises:
        Outage: Redis gave no answer, or refused; with what that means and what to do, where it is known.
    """
    try:
        return await call
    except (RedisError, OSError) as error:
        if (fault := tls_fault(error, REDIS)) is not None:
            raise Outage("redis", str(fault), seen=fault.seen, mend=fault.mend) from error
        raise Outage("redis", told(error), seen=refused(error), mend=sort(error).mend) from error
