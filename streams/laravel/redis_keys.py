r"""The names in Redis: those of a queue, as ``Illuminate\Queue\RedisQueue`` makes them, and the fence's."""

from typing import NamedTuple, Self


class QueueKeys(NamedTuple):
    """The keys of one queue: Laravel's, and ``held``, which tells which ``ingest`` holds which jobs."""

    list: str
    delayed: str
    reserved: str
    notify: str
    held: str

    @classmethod
    def of(cls, prefix: str, queue: str) -> Self:
        """Name the keys of a queue, with Laravel's prefix for all keys before them."""
        name = f"{prefix}queues:{queue}"
        return cls(name, *(f"{name}:{kind}" for kind in ("delayed", "reserved", "notify", "held")))


def fence_key(prefix: str, topics: str) -> str:
    """Name the hash that holds the fence of each partition."""
    return f"{prefix}metric-streams:{topics}:fence"


def channel_of(prefix: str, tenant_id: str) -> str:
    """Name the channel on which a tenant's metrics are published."""
    return f"{prefix}tenant.{tenant_id}.metrics"
