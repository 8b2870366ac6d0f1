"""Plans what simulated devices publish, and what must come of it. Pure: seeded, no clock, no sockets.

`Simulation` yields publications without end, the same ones for the same arguments; `expect` tells the rows,
rejections and duplicates that any prefix of them must lead to. ``simulate`` and ``./dev run`` publish them
(``streams/demo/fleet.py``), and the ledger of ``./dev run`` is checked against them.

The expectation is exact under two conditions. Every reading has an identity of its own (a dedupe_id, or a
timestamp that no other reading has), and a tenant's messages arrive in the order in which they were planned,
which holds for messages that were published on one connection. The order between tenants does not matter.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import NamedTuple, Self
from uuid import UUID

import msgspec

from streams.demo.malformed import FAULTS, Sound
from streams.models import Reason

METRICS = (
    ("cpu.usage.percent", 0.0, 100.0),
    ("memory.used.percent", 5.0, 98.0),
    ("temperature.celsius", -30.0, 90.0),
    ("disk.queue.length", 0.0, 40.0),
    ("network.received.kbps", 0.0, 125_000.0),
)
"""Name, lowest and highest value."""

RECENT = 200
"""Copies and corrections follow their reading within so many others, far inside any dedupe window."""


class PublicationKind(StrEnum):
    """What a publication is, in the eyes of the device that sends it."""

    VALID = "valid"
    DUPLICATE = "duplicate"
    """An exact copy of an earlier reading. Where a correction came in between, it is the older value again,
    and so no duplicate to the pipeline: the last write of a dedupe_id wins."""
    CORRECTION = "correction"
    """The dedupe_id of an earlier reading with a new value."""
    MALFORMED = "malformed"


class Shares(NamedTuple):
    """How many of all publications are of each kind but valid, as fractions of 1."""

    duplicates: float = 0.05
    corrections: float = 0.01
    malformed: float = 0.01

    def checked(self) -> Self:
        """Return these shares.

        Raises:
            ValueError: if one is negative or all together leave nothing for valid readings.
        """
        if min(self) < 0 or sum(self) >= 1:
            raise ValueError(f"shares must not be negative and must add up to less than 1: {self}")
        return self


DEFAULT_SHARES = Shares()


class RowId(NamedTuple):
    """What makes a row of ``metrics_raw`` the row of one reading."""

    tenant_id: str
    dedupe_id: str
    """As the device sent it; empty where it sent none, and only then do the next three count."""
    agent_id: str = ""
    metric_name: str = ""
    timestamp: str = ""
    """UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``."""


class Planned(NamedTuple):
    """A reading as a device means it."""

    tenant_id: str
    agent_id: str
    metric_name: str
    value: float
    timestamp: str
    """UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``; where the payload has none, the row has the time of arrival."""
    dedupe_id: str | None

    @property
    def row_id(self) -> RowId:
        """The row that the reading belongs in."""
        if self.dedupe_id:
            return RowId(self.tenant_id, self.dedupe_id)
        return RowId(self.tenant_id, "", self.agent_id, self.metric_name, self.timestamp)


class PlannedPublication(NamedTuple):
    """One message to publish. It has either a reading or the reason for which it must be rejected."""

    kind: PublicationKind
    topic: str
    payload: bytes
    reading: Planned | None = None
    reason: Reason | None = None


class Expectation(NamedTuple):
    """What publications must lead to, were each valid one simply upserted."""

    rows: dict[RowId, float]
    """The value of each row."""
    superseded: int
    """Readings that went on and whose row was written again later."""
    duplicates: int
    rejected: Counter[Reason]


def expect(publications: Iterable[PlannedPublication]) -> Expectation:
    """Tell what becomes of publications that arrive in this order.

    Each of them is one of these: the last value of a row, superseded, duplicate, rejected.
    """
    rows: dict[RowId, float] = {}
    rejected: Counter[Reason] = Counter()
    superseded = duplicates = 0
    for publication in publications:
        reading = publication.reading
        if reading is None:
            rejected[publication.reason or Reason.INTERNAL_ERROR] += 1
        elif rows.get(reading.row_id) == reading.value:
            duplicates += 1
        else:
            superseded += reading.row_id in rows
            rows[reading.row_id] = reading.value
    return Expectation(rows, superseded, duplicates, rejected)


class Simulation(Iterator[PlannedPublication]):
    """The publications of a fleet of devices, without end.

    Args:
        tenants: ids of the tenants whose devices publish, as they are in the database.
        devices: how many each tenant has.
        shares: how many publications are no new valid reading.
        seed: the same seed gives the same values, and the same dedupe_ids.
        start: the first reading's time; must have a time zone.
        step: between one publication's time and the next; at least a microsecond.

    Raises:
        ValueError: if the arguments leave nothing to simulate.
    """

    def __init__(
        self,
        tenants: Sequence[str],
        *,
        devices: int = 5,
        shares: Shares = DEFAULT_SHARES,
        seed: int = 0,
        start: datetime,
        step: timedelta,
    ) -> None:
        if not tenants or devices < 1 or step < timedelta(microseconds=1):
            raise ValueError("a simulation needs a tenant, a device, and a step of at least a microsecond")
        self._shares = shares.checked()
        self._tenants = list(tenants)
        self._devices = devices
        self._random = random.Random(seed)  # noqa: S311 - repeatable is what it must be
        self._run = f"{self._random.getrandbits(32):08x}"
        self._time, self._step = start.astimezone(UTC), step
        self._number = 0
        self._recent: deque[tuple[PlannedPublication, _Form]] = deque(maxlen=RECENT)
        self._faults = 0

    def __next__(self) -> PlannedPublication:
        self._number += 1
        self._time += self._step
        draw = self._random.random() - self._shares.malformed
        if draw < 0:
            return self._malformed()
        if self._recent and (draw := draw - self._shares.duplicates) < 0:
            return self._random.choice(self._recent)[0]._replace(kind=PublicationKind.DUPLICATE)
        if self._recent and draw < self._shares.corrections:
            return self._correction() or self._valid()
        return self._valid()

    def take(self, count: int) -> list[PlannedPublication]:
        """Return the next `count` publications."""
        return [next(self) for _ in range(count)]

    def _valid(self) -> PlannedPublication:
        name, low, high = self._random.choice(METRICS)
        form = self._random.choice(FORMS)
        reading = Planned(
            tenant_id=self._random.choice(self._tenants),
            agent_id=f"edge-{self._random.randint(1, self._devices)}",
            metric_name=name,
            value=round(self._random.uniform(low, high), 2),
            timestamp=_sql(self._time),
            dedupe_id=f"{self._run}-{self._number}" if form.with_id else None,
        )
        return self._remember(PublicationKind.VALID, reading, form)

    def _correction(self) -> PlannedPublication | None:
        """Change the value of a recent reading that has a dedupe_id; None if there is none."""
        candidates = [(old.reading, form) for old, form in self._recent if old.reading and form.with_id]
        if not candidates:
            return None
        reading, form = self._random.choice(candidates)
        corrected = reading._replace(value=round(reading.value + self._random.uniform(0.5, 9.5), 2))
        return self._remember(PublicationKind.CORRECTION, corrected, form)

    def _remember(self, kind: PublicationKind, reading: Planned, form: "_Form") -> PlannedPublication:
        publication = PlannedPublication(kind, _topic(reading), form.payload(reading), reading)
        self._recent.append((publication, form))
        return publication

    def _malformed(self) -> PlannedPublication:
        """Return the next fault in turn, so that every reason is reached."""
        reason, spoil = FAULTS[self._faults % len(FAULTS)]
        self._faults += 1
        tenant, agent = self._random.choice(self._tenants), f"edge-{self._random.randint(1, self._devices)}"
        unknown = str(UUID(int=self._random.getrandbits(128), version=4))
        sound = Sound(tenant, agent, METRICS[0][0], f"{self._run}-{self._number}", unknown)
        topic, payload = spoil(sound)
        return PlannedPublication(PublicationKind.MALFORMED, topic, payload, reason=reason)


class _Form(NamedTuple):
    """A way to write a reading down."""

    with_id: bool
    time: Callable[[datetime], object] | None
    """None for a device without a clock."""

    def payload(self, reading: Planned) -> bytes:
        fields: dict[str, object] = {"value": reading.value}
        if self.time is not None:
            at = datetime.strptime(reading.timestamp, SQL_TIME).replace(tzinfo=UTC)
            fields["timestamp"] = self.time(at)
        if reading.dedupe_id is not None:
            fields["dedupe_id"] = reading.dedupe_id
        return msgspec.json.encode(fields)


SQL_TIME = "%Y-%m-%d %H:%M:%S.%f"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _sql(at: datetime) -> str:
    return at.strftime(SQL_TIME)


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _rfc3339_elsewhere(at: datetime) -> str:
    return at.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(timespec="microseconds")


def _unix_us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


FORMS = [
    _Form(with_id, time)
    for with_id in (True, False)
    for time in (_rfc3339, _sql, _unix_us, _rfc3339_elsewhere, None)
    if with_id or time
]
"""With and without a dedupe_id, and every way to write a time down that keeps its microseconds."""


def _topic(reading: Planned) -> str:
    return f"metrics/{reading.tenant_id}/{reading.agent_id}/{reading.metric_name}"
