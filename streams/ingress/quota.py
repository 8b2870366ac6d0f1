"""How much a tenant may send; what goes beyond is noticed before it costs more. Pure: it is told the time.

Between the MQTT connection and the chunks: `streams.ingress.flow` asks a `Meter` of each
message, and refine rejects those that were beyond. They keep their place in ``metrics.raw``, so that what is
put back later stands where it came.
"""

from enum import Enum, auto
from typing import NamedTuple

from streams.ingress.chunking import LONGEST_REMEMBERED, TOPICS_REMEMBERED, tenant_level
from streams.rules.payload import MAX_BYTES
from streams.settings import Settings

TENANTS_REMEMBERED = 32_768
"""By each of two generations; some 250 bytes a tenant."""
REMEMBERED_S = 3_600
"""Where there are more, so few newcomers are let in that who is heard of once in this time stays known."""
RESUMED_S = 1.0
"""A tenant that has gone beyond its quota may go on when it has this much of it again, or half a burst."""


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


class QuotaVerdict(Enum):
    """What becomes of a message."""

    WITHIN = auto()
    GONE_OVER = auto()
    """It is beyond its tenant's quota, and the one before was not."""
    OVER = auto()


class _Allowance:
    """What one tenant has used, as the times at which all of it will be free again (GCRA, ITU-T I.371)."""

    __slots__ = ("bytes_free_at", "is_over", "messages_free_at")

    def __init__(self, now: float) -> None:
        self.messages_free_at = self.bytes_free_at = now
        self.is_over = False

    def spend(self, size_bytes: int, quota: Quota, now: float) -> QuotaVerdict:
        """Use some of it, and nothing if there is not enough.

        Who has gone over stays so until there is more than one message's worth: else each chunk of a flood
        would have a few that go on, with what is beyond before them and behind.
        """
        messages_used, bytes_used = max(self.messages_free_at, now), max(self.bytes_free_at, now)
        messages_free_at = messages_used + 1 / quota.messages_per_s
        bytes_free_at = bytes_used + size_bytes / quota.bytes_per_s
        latest = now + quota.burst_s
        resumed = latest - min(RESUMED_S, quota.burst_s / 2)
        is_too_soon = self.is_over and max(messages_used, bytes_used) > resumed
        if is_too_soon or messages_free_at > latest or bytes_free_at > latest:
            verdict = QuotaVerdict.OVER if self.is_over else QuotaVerdict.GONE_OVER
            self.is_over = True
            return verdict
        self.messages_free_at, self.bytes_free_at, self.is_over = messages_free_at, bytes_free_at, False
        return QuotaVerdict.WITHIN


class Meter:
    """Tells of each message whether it is beyond what its tenant may send.

    Tenants are names that devices choose. As long as there are no more than are remembered, each has a quota
    from its first message on. Beyond that newcomers are let in slowly, so that who invents a name for each
    message does not make those forgotten who are known.

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
        self._crowded = Quota(most / REMEMBERED_S, float("inf"), max(10.0, REMEMBERED_S / most))

    def weigh(self, topic: str, size_bytes: int, now: float) -> QuotaVerdict:
        """Count a message, and say what becomes of it. What is beyond the quota uses nothing of it.

        Args:
            topic: as published; its second level is the tenant.
            size_bytes: of the payload.
            now: a time in seconds that never goes back.
        """
        # Of a larger one only the beginning is kept, and it is rejected.
        size_bytes = min(size_bytes, MAX_BYTES)
        allowance = self._by_topic.get(topic) or self._allowance_for(topic, now)
        return QuotaVerdict.OVER if allowance is None else allowance.spend(size_bytes, self._quota, now)

    def let_pass(self, topic: str, now: float) -> None:
        """Note that a message goes on uncounted: the broker sends it again, and it was weighed before.

        What of its tenant is beyond the quota behind it has gone over anew, as `QuotaVerdict.GONE_OVER` says.
        """
        allowance = self._by_topic.get(topic) or self._allowance_for(topic, now)
        if allowance is not None:
            allowance.is_over = False

    def _allowance_for(self, topic: str, now: float) -> _Allowance | None:
        """Return that of the topic's tenant; None for a newcomer where too many have come."""
        tenant = tenant_level(topic)
        allowance = self._young.get(tenant)
        if allowance is None:
            allowance = self._old.pop(tenant, None)
            if allowance is None:
                if not self._lets_in_one_more(now):
                    return None
                allowance = _Allowance(now)
            self._remember(tenant, allowance)
        if len(topic) <= LONGEST_REMEMBERED:
            if len(self._by_topic) >= TOPICS_REMEMBERED:
                self._by_topic.clear()
            self._by_topic[topic] = allowance
        return allowance

    def _lets_in_one_more(self, now: float) -> bool:
        if len(self._young) + len(self._old) < self._most:
            return True
        if self._newcomers is None:
            self._newcomers = _Allowance(now)
        return self._newcomers.spend(0, self._crowded, now) is QuotaVerdict.WITHIN

    def _remember(self, tenant: str, allowance: _Allowance) -> None:
        if len(self._young) >= self._most:
            # Whoever sends something before the young are as many again is young anew, and stays.
            # Two generations instead of an order by last use, which would cost a move for every message.
            self._old, self._young = self._young, {}
            self._by_topic.clear()
        self._young[tenant] = allowance
