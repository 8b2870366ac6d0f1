"""How much of each tenant's may be put back now. Pure: it is told how much time has passed."""

from streams.ingress.quota import Quota


class Allowance:
    """Lets each tenant have its quota of the time that has passed, in turns.

    A tenant that has used it up gets nothing more in that turn, not even something small: its messages stay
    in their order. One message may be larger than what there is. It takes from later turns.

    Args:
        quota: of each tenant.
    """

    def __init__(self, quota: Quota) -> None:
        self._message_s, self._byte_s = 1 / quota.messages_per_s, 1 / quota.bytes_per_s
        self._since = self._until = 0.0
        """The time that this turn gives away, in seconds since the beginning."""
        self._used_until: dict[str, tuple[float, float]] = {}
        """By tenant: up to where it has used its messages, and its bytes."""

    def begin(self, elapsed_s: float) -> None:
        """Begin a turn, so long after the one before, above zero. What a tenant did not use then is gone."""
        self._since, self._until = self._until, self._until + elapsed_s
        self._used_until = {
            tenant: used for tenant, used in self._used_until.items() if max(used) > self._since
        }

    def grants(self, tenant: str, size_bytes: int) -> bool:
        """Tell whether a message of a tenant may be put back, and count it if so."""
        messages, of_bytes = self._used_until.get(tenant, (0.0, 0.0))
        messages, of_bytes = max(messages, self._since), max(of_bytes, self._since)
        if max(messages, of_bytes) >= self._until:
            return False
        self._used_until[tenant] = (messages + self._message_s, of_bytes + size_bytes * self._byte_s)
        return True
