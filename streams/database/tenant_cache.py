"""What is known of tenants, and for how long it may be believed. Pure: the clock is handed in."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from typing import NamedTuple


class CachedTenants(NamedTuple):
    """What the cache can say of some ids."""

    known: AbstractSet[str]
    """Exist, as far as may be believed without asking."""
    missing: AbstractSet[str]
    """Must be asked for. What is in neither set does not exist."""


class TenantCache:
    """Remembers which tenants exist and which do not, each for its own time.

    The two are kept apart, each bounded and the least recently used dropped first, so that a flood of
    invented tenants cannot push out the real ones. An existing tenant is remembered beyond its time for
    as long as there is room: PostgreSQL may be away when it is needed.

    Args:
        known_s: seconds that an existing tenant is believed in.
        unknown_s: seconds that one that does not exist is believed not to.
        max_entries: of each kind.
        clock: seconds that never go back, such as ``time.monotonic``.
    """

    def __init__(
        self, *, known_s: float, unknown_s: float, clock: Callable[[], float], max_entries: int = 100_000
    ) -> None:
        self._known_s = known_s
        self._unknown_s = unknown_s
        self._clock = clock
        self._max_entries = max_entries
        self._known: OrderedDict[str, float] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self.generation = 0
        """Raised by everything that makes answers invalid, also those still on their way."""

    def look_up(self, tenant_ids: Collection[str]) -> CachedTenants:
        """Sort the ids into those that exist, those to ask for, and (in neither) those that do not exist."""
        now = self._clock()
        known = {tenant_id for tenant_id in tenant_ids if self._fresh(self._known, tenant_id, now)}
        missing = {
            tenant_id
            for tenant_id in tenant_ids
            if tenant_id not in known and not self._fresh(self._unknown, tenant_id, now)
        }
        return CachedTenants(known, missing)

    def stale(self, tenant_ids: Collection[str]) -> AbstractSet[str]:
        """Return those that existed when last asked for, however long ago."""
        return {tenant_id for tenant_id in tenant_ids if tenant_id in self._known}

    def remember(self, asked: Collection[str], found: AbstractSet[str], *, generation: int) -> None:
        """Keep what PostgreSQL answered, unless something was forgotten since it was asked.

        Args:
            asked: the ids in the question.
            found: those of them that exist.
            generation: `generation` as it was before asking.
        """
        # The answer was on its way when a tenant changed: it may be from before that.
        if generation != self.generation:
            return
        now = self._clock()
        for tenant_id in asked:
            self._drop(tenant_id)
            if tenant_id in found:
                self._known[tenant_id] = now + self._known_s
            else:
                self._unknown[tenant_id] = now + self._unknown_s
        for entries in (self._known, self._unknown):
            while len(entries) > self._max_entries:
                entries.popitem(last=False)

    def forget(self, tenant_id: str) -> None:
        """Believe nothing of one tenant any more."""
        self.generation += 1
        self._drop(tenant_id)

    def forget_all(self) -> None:
        """Believe nothing of any tenant any more."""
        self.generation += 1
        self._known.clear()
        self._unknown.clear()

    def expire_all(self) -> None:
        """Ask for every tenant again, but go on remembering for an outage which ones existed."""
        self.generation += 1
        self._unknown.clear()
        for tenant_id in self._known:
            # Kept for an outage, in which whoever was known before still passes.
            self._known[tenant_id] = float("-inf")

    def _fresh(self, entries: OrderedDict[str, float], tenant_id: str, now: float) -> bool:
        believed_until = entries.get(tenant_id)
        if believed_until is None:
            return False
        # Also of one that is to be asked for again: it is in use, and the last to be dropped.
        entries.move_to_end(tenant_id)
        return now < believed_until

    def _drop(self, tenant_id: str) -> None:
        self._known.pop(tenant_id, None)
        self._unknown.pop(tenant_id, None)
