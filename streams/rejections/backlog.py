"""What is held back because of a quota: where it is, tenant by tenant. Pure.

It knows places and sizes: some ten bytes a message, and 500 for each record that has some of a tenant. The
messages stay on metrics.rejected.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

MOST_TENANTS = 32_768
"""Whose messages are held at a time; names are invented easily."""
MOST_MESSAGES = 4_000_000
"""Of all tenants; fewer where there are few of each in a record."""
MESSAGES_OF_A_RUN = 40
"""What the messages that a tenant has in one record cost beside themselves, in messages."""
SLICE = 1_000
"""Tenants, or runs, that are looked at before others have a turn."""
MOST_ASKED = 5_000
"""Tenants that are asked about for one batch."""


class HeldMessage(NamedTuple):
    """A message of a record of metrics.rejected."""

    number: int
    """Which one of the record."""
    tenant: str
    """As a quota is counted: the beginning of an overlong name."""
    size_bytes: int


class HeldRecord(NamedTuple):
    """A record of metrics.rejected with messages that are held back."""

    partition: int
    offset: int
    written_ms: int
    digest: int
    """By which the record is known again."""
    messages: list[HeldMessage]


class Place(NamedTuple):
    """Where a record of metrics.rejected is."""

    partition: int
    offset: int
    digest: int


class NextMessages(NamedTuple):
    """The next messages of a tenant, all of one record."""

    tenant: str
    place: Place
    numbers: list[int]


class GivenUp(NamedTuple):
    """Messages that are given up: they stay on metrics.rejected."""

    too_old: int = 0
    too_many: int = 0
    tenant: str = ""
    """The last one of whom some were."""


@dataclass(slots=True)
class _Run:
    """What is left of a tenant's messages of one record."""

    place: Place
    written_ms: int
    numbers: "array[int]"
    sizes: "array[int]"
    begin: int = 0

    def __len__(self) -> int:
        return len(self.numbers) - self.begin


class _Tenant:
    __slots__ = ("messages", "runs", "size_bytes")

    def __init__(self) -> None:
        self.runs: deque[_Run] = deque()
        self.messages = self.size_bytes = 0


class HeldBacklog:
    """Keeps the messages of each tenant in their order.

    Of a tenant it keeps as many as can be put back in time. What comes beyond is given up at once, which is
    known long before those messages are too old.

    Args:
        most_of_one: messages of one tenant.
        most_bytes_of_one: of their payloads.
        most: messages of all.
        most_tenants: whose messages are kept.
    """

    def __init__(
        self,
        *,
        most_of_one: float,
        most_bytes_of_one: float,
        most: int = MOST_MESSAGES,
        most_tenants: int = MOST_TENANTS,
    ) -> None:
        self._most_of_one = most_of_one
        self._most_bytes_of_one = most_bytes_of_one
        self._most = most
        self._most_tenants = most_tenants
        self._tenants: dict[str, _Tenant] = {}
        """Those whose turn is next come first."""
        self._total = self._cost = 0
        self._given = GivenUp()

    def __len__(self) -> int:
        return self._total

    @property
    def tenants(self) -> int:
        """How many tenants' messages are held."""
        return len(self._tenants)

    @property
    def worst(self) -> tuple[str, int]:
        """Return the tenant of whom most is held, and how many messages."""
        tenant, held = max(self._tenants.items(), key=lambda each: each[1].messages)
        return tenant, held.messages

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest was rejected, by the broker's clock; None where none is held."""
        return min((held.runs[0].written_ms for held in self._tenants.values()), default=None)

    def add(self, record: HeldRecord, *, since_ms: int = 0) -> None:
        """Take in a record that comes behind those before it in its partition.

        Args:
            record: with the messages that are held.
            since_ms: what was rejected before that time is given up at once.
        """
        if record.written_ms < since_ms:
            many, tenant = len(record.messages), record.messages[-1].tenant
            self._given = self._given._replace(too_old=self._given.too_old + many, tenant=tenant)
            return
        place = Place(record.partition, record.offset, record.digest)
        for number, tenant, size_bytes in record.messages:
            held = self._tenants.get(tenant)
            if not self._has_room(held):
                self._given = self._given._replace(too_many=self._given.too_many + 1, tenant=tenant)
                continue
            if held is None:
                held = self._tenants[tenant] = _Tenant()
            if not held.runs or held.runs[-1].place != place:
                held.runs.append(_Run(place, record.written_ms, array("I"), array("I")))
                self._cost += MESSAGES_OF_A_RUN
            run = held.runs[-1]
            run.numbers.append(number)
            run.sizes.append(size_bytes)
            held.messages += 1
            held.size_bytes += size_bytes
            self._total += 1
            self._cost += 1

    def _has_room(self, held: _Tenant | None) -> bool:
        if self._cost >= self._most:
            return False
        if held is None:
            return len(self._tenants) < self._most_tenants
        return held.messages < self._most_of_one and held.size_bytes < self._most_bytes_of_one

    def expire(self, before_ms: int) -> Iterator[None]:
        """Give up what was rejected before that time; yield now and then, for others to have a turn."""
        looked_at = 0
        for tenant, held in list(self._tenants.items()):
            looked_at += 1
            while held.runs and held.runs[0].written_ms < before_ms:
                many = len(held.runs[0])
                self._given = self._given._replace(too_old=self._given.too_old + many, tenant=tenant)
                self._take(tenant, many)
                looked_at += 1
                if looked_at >= SLICE:
                    looked_at = 0
                    yield
            if looked_at >= SLICE:
                looked_at = 0
                yield

    def take_given(self) -> GivenUp:
        """Return what was given up since it was asked last."""
        given, self._given = self._given, GivenUp()
        return given

    def choose(
        self, grants: Callable[[str, int], bool], *, most_messages: int, most_bytes: int, most_chosen: int
    ) -> Iterator[NextMessages]:
        """Yield what is next, of each tenant in its order; whoever was asked about comes last then.

        What is yielded stays until it is `taken`, which has to be before it is yielded again.

        Args:
            grants: tells whether a message of a tenant, of so many bytes, may go. It is asked once for each,
                and no more for a tenant that is refused.
            most_messages: at most.
            most_bytes: of payloads, or one message.
            most_chosen: how many are yielded at most; each may be of a record of its own.
        """
        for tenant in list(islice(self._tenants, MOST_ASKED)):
            # At once: where what was chosen cannot be put back, others come first the next time.
            held = self._tenants[tenant] = self._tenants.pop(tenant)
            is_refused = False
            for run in held.runs:
                numbers = list[int]()
                for at in range(run.begin, len(run.numbers)):
                    if most_messages <= 0 or most_bytes <= 0:
                        break
                    if is_refused := not grants(tenant, run.sizes[at]):
                        break
                    numbers.append(run.numbers[at])
                    most_messages -= 1
                    most_bytes -= run.sizes[at]
                if numbers:
                    most_chosen -= 1
                    yield NextMessages(tenant, run.place, numbers)
                if most_messages <= 0 or most_bytes <= 0 or most_chosen <= 0:
                    return
                if is_refused:
                    break

    def taken(self, chosen: NextMessages) -> None:
        """Forget messages that were put back, the oldest of their tenant."""
        self._take(chosen.tenant, len(chosen.numbers))

    def _take(self, tenant: str, count: int) -> None:
        held = self._tenants[tenant]
        run = held.runs[0]
        held.messages -= count
        held.size_bytes -= sum(run.sizes[run.begin : run.begin + count])
        run.begin += count
        self._total -= count
        self._cost -= count
        if not run:
            held.runs.popleft()
            self._cost -= MESSAGES_OF_A_RUN
        if not held.runs:
            del self._tenants[tenant]
