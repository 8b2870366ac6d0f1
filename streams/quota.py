"""How much a tenant may send; what goes beyond is noticed before it costs more. Pure: it is told the time.

Between the MQTT connection and the chunks: the carrier (``streams/mqtt/carrier.py``) asks a `Meter` of each
message, and refine rejects those that were beyond. They keep their place in ``metrics.raw``, so that what is
put back later stands where it came.
"""

from typing import NamedTuple

from streams.chunks import LONGEST_REMEMBERED, TOPICS_REMEMBERED, tenant_level
from streams.rules.payload import MAX_BYTES
from streams.settings import Settings

TENANTS_REMEMBERED = 32_768
"""By each of two generations; some 250 bytes a tenant."""


class Quota(NamedTuple):
    """What each tenant may send; infinite where there is no limit."""

    messages_per_s: float
    bytes_per_s: float
    """Of payloads; one that is too large to be taken counts as the largest that is."""
    burst_s: float
    """What was not used for so long may come at once."""

    @classmethod
    def of(cls, settings: Settings) -> "Quota | None":
        """Return what the settings say; None where there is no quota."""
        if not settings.quota_messages_per_s and not settings.quota_bytes_per_s:
            return None
        return cls(
            settings.quota_messages_per_s or float("inf"),
            settings.quota_bytes_per_s or float("inf"),
            settings.quota_burst_s,
        )


class _Allowance:
    """What one tenant has used, as the times at which all of it will be free again (GCRA, ITU-T I.371)."""

    __slots__ = ("bytes_free_at", "messages_free_at")

    def __init__(self, now: float) -> None:
        self.messages_free_at = self.bytes_free_at = now

    def spend(self, size_bytes: int, quota: Quota, now: float) -> bool:
        """Use some of it; return whether there was enough, and use nothing if there was not."""
        messages_free_at = max(self.messages_free_at, now) + 1 / quota.messages_per_s
        bytes_free_at = max(self.bytes_free_at, now) + size_bytes / quota.bytes_per_s
        latest = now + quota.burst_s
        if messages_free_at > latest or bytes_free_at > latest:
            return False
        self.messages_free_at, self.bytes_free_at = messages_free_at, bytes_free_at
        return True


class Meter:
    """Tells of each message whether it is beyond what its tenant may send.

    Tenants are names that devices choose. So those that have not been met for long share one quota until they
    are known: who invents a name for each message has no more than one tenant has.

    Args:
        quota: of each tenant.
        most: tenants that are remembered, by each of two generations.
    """

    def __init__(self, quota: Quota, *, most: int = TENANTS_REMEMBERED) -> None:
        self._quota = quota
        self._most = most
        self._by_topic: dict[str, _Allowance] = {}
        self._young: dict[str, _Allowance] = {}
        self._old: dict[str, _Allowance] = {}
        self._newcomers: _Allowance | None = None

    def is_over(self, topic: str, size_bytes: int, now: float) -> bool:
        """Count a message; tell whether it is beyond its tenant's quota. Such a one uses nothing of it.

        Args:
            topic: as published; its second level is the tenant.
            size_bytes: of the payload.
            now: a time in seconds that never goes back.
        """
        size_bytes = min(size_bytes, MAX_BYTES)
        allowance = self._by_topic.get(topic) or self._allowance_for(topic, size_bytes, now)
        return allowance is None or not allowance.spend(size_bytes, self._quota, now)

    def _allowance_for(self, topic: str, size_bytes: int, now: float) -> _Allowance | None:
        """Return that of the topic's tenant; None for a newcomer where too many have come."""
        tenant = tenant_level(topic)
        allowance = self._young.get(tenant)
        if allowance is None:
            allowance = self._old.pop(tenant, None)
            if allowance is None:
                if self._newcomers is None:
                    self._newcomers = _Allowance(now)
                if not self._newcomers.spend(size_bytes, self._quota, now):
                    return None
                allowance = _Allowance(now)
            self._remember(tenant, allowance)
        if len(topic) <= LONGEST_REMEMBERED:
            if len(self._by_topic) >= TOPICS_REMEMBERED:
                self._by_topic.clear()
            self._by_topic[topic] = allowance
        return allowance

    def _remember(self, tenant: str, allowance: _Allowance) -> None:
        if len(self._young) >= self._most:
            # Whoever sends something before the young are as many again is young anew, and stays.
            self._old, self._young = self._young, {}
            self._by_topic.clear()
        self._young[tenant] = allowance
