"""How much of each tenant's may be put back now. Pure: it is told how much time has passed."""

from dataclasses import dataclass

from streams.ingress.quota import Quota


@dataclass(slots=True)
class _Left:
    """What a tenant has left; below zero after a message that was larger than that."""

    messages: float
    size_bytes: float

    @property
    def is_used_up(self) -> bool:
        return self.messages <= 0 or self.size_bytes <= 0


class Allowance:
    """Lets each tenant have its quota of the time that has passed, in turns.

    A tenant that has used it up gets nothing more in that turn, not even something small: its messages stay
    in their order.

    Args:
        quota: of each tenant.
    """

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._elapsed_s = 0.0
        self._owed: dict[str, _Left] = {}
        """Of those who have gone below zero."""
        self._left: dict[str, _Left] = {}

    def begin(self, elapsed_s: float) -> None:
        """Begin a turn, so long after the one before, above zero. What a tenant did not use then is gone."""
        self._elapsed_s = elapsed_s
        self._owed = {tenant: left for tenant, left in self._left.items() if left.is_used_up}
        self._left = {}

    def grants(self, tenant: str, size_bytes: int) -> bool:
        """Tell whether a message of a tenant may be put back, and count it if so."""
        left = self._left.get(tenant)
        if left is None:
            owed = self._owed.get(tenant, _Left(0.0, 0.0))
            left = self._left[tenant] = _Left(
                min(0.0, owed.messages) + self._elapsed_s * self._quota.messages_per_s,
                min(0.0, owed.size_bytes) + self._elapsed_s * self._quota.bytes_per_s,
            )
        if left.is_used_up:
            return False
        left.messages -= 1
        left.size_bytes -= size_bytes
        return True
