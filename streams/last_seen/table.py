"""The devices of a worker's partitions in memory. Pure, and bounded whatever devices call themselves.

A message costs an entry of a counter; what is said of a device is worked out once for all that it sent since
the last look. The time of a device is that of the latest message of its chunk's partition by then, so it may
be late by as much as lies between two looks.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from xxhash import xxh3_64_intdigest

from streams.models import Message
from streams.rules.topic import LEVELS, ROOT
from streams.wire.decision import Refusal
from streams.wire.devices import DeviceSeen
from streams.wire.raw import unix_s

BUCKETS = 64
MOST_DEVICES = 200_000
"""Of a worker, some 350 bytes each."""
MOST_NOTED = 20_000
"""Topics that wait to be worked out."""
LONGEST_NAME = 128
"""Of tenant and agent; a valid one has at most 101."""
EVICTED_SHARE = 0.1
FORGOTTEN_S = 30 * 86_400.0
ARRIVAL_STEP = 18
"""Of ``2026-11-23T14:00:0`` as a message has it: all that arrives in ten seconds looks the same so far."""
_PREFIX = f"{ROOT}/"
_topic = attrgetter("topic")


class Devices:
    """The devices of one partition."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._buckets: list[dict[str, DeviceSeen]] = [{} for _ in range(BUCKETS)]
        self._devices: dict[str, DeviceSeen] = {}
        self._noted: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._arrived = ""
        self._written_at = [0.0] * BUCKETS
        """By bucket: the last time of the device that was heard last, when it was written."""
        self._next = 0
        self._forced: set[int] = set()
        self.left_out = 0
        """Messages of devices for which there was no room, or whose names can be none."""

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[DeviceSeen]:
        return iter(self._devices.values())

    def note(self, messages: Sequence[Message], refusals: Sequence[Refusal]) -> None:
        """Take in the messages of a chunk, and which of them were rejected."""
        arrived = messages[-1].received_at
        if arrived[:ARRIVAL_STEP] != self._arrived[:ARRIVAL_STEP] or len(self._noted) > MOST_NOTED:
            self.work_out()
        self._arrived = max(arrived, self._arrived)
        # Both run in C: for each message a line of Python would cost several times as much.
        self._noted.update(map(_topic, messages))
        if refusals:
            topics = (messages[each.index].topic for each in refusals if each.index < len(messages))
            self._rejected.update(topics)

    def work_out(self) -> None:
        """Enter what was noted since the last time."""
        at = unix_s(self._arrived) or 0.0
        # Asked once: with each new device the share of a partition does not change.
        room = max(0, self._most() - len(self._devices))
        for topic, number in self._noted.items():
            level = topic.rsplit("/", 1)[0]
            device = self._devices.get(level)
            if device is None:
                if room == 0 or not _is_device(level):
                    # Counted, so that whoever wonders about a missing device can see why.
                    self.left_out += number
                    continue
                room -= 1
                device = self._enter(level, DeviceSeen(level[len(_PREFIX) :]))
            if at > device.last:  # noqa: PLR1730 - max() is a call
                device.last = at
            device.messages += number
        for topic, number in self._rejected.items():
            if (device := self._devices.get(topic.rsplit("/", 1)[0])) is not None:
                device.rejected += number
        self._noted.clear()
        self._rejected.clear()
        self._arrived = ""

    def take_in(self, stored: Sequence[DeviceSeen], now: float) -> None:
        """Add what was stored of them before; what has been silent for too long is forgotten."""
        for old in stored:
            if now - old.last > FORGOTTEN_S or len(self._devices) >= self._most():
                continue
            device = self._devices.get(_PREFIX + old.name)
            if device is None:
                self._enter(_PREFIX + old.name, old)
            else:
                device.last = max(device.last, old.last)
                # Both: what was written before this worker held the partition, and what it has counted since.
                device.messages += old.messages
                device.rejected += old.rejected

    def changes(self) -> Iterator[tuple[int, list[DeviceSeen]]]:
        """Yield the buckets that have changed, those first that have waited longest; each is settled then."""
        for _ in range(BUCKETS):
            # On from where the last round ended, so that each bucket has its turn however many change.
            bucket, self._next = self._next, (self._next + 1) % BUCKETS
            devices = list(self._buckets[bucket].values())
            latest = max((device.last for device in devices), default=0.0)
            if latest > self._written_at[bucket] or bucket in self._forced:
                self._written_at[bucket] = latest
                self._forced.discard(bucket)
                yield bucket, devices

    def make_room(self, now: float) -> None:
        """Forget devices where there are nearly too many.

        First those of which nothing was ever accepted, then those of tenants that have more than their share,
        of each the ones that have been silent for longest: so nobody can drive out others with made-up names.
        """
        most = self._most()
        if len(self._devices) < most * (1 - EVICTED_SHARE / 2):
            return
        tenants = Counter(device.tenant_id for device in self)
        share = most / max(1, len(tenants))

        def worth(level: str) -> tuple[bool, bool, float]:
            device = self._devices[level]
            is_real = device.messages > device.rejected and now - device.last <= FORGOTTEN_S
            return is_real, tenants[device.tenant_id] <= share, device.last

        order = sorted(self._devices, key=worth)
        for level in order[: len(order) - int(most * (1 - EVICTED_SHARE))]:
            self._drop(level)

    def mark_changed(self, bucket: int) -> None:
        """Note that a bucket is still to be written."""
        self._forced.add(bucket)

    def _enter(self, level: str, device: DeviceSeen) -> DeviceSeen:
        self._devices[level] = self._buckets[_bucket(level)][level] = device
        return device

    def _drop(self, level: str) -> None:
        bucket = _bucket(level)
        del self._devices[level], self._buckets[bucket][level]
        self._forced.add(bucket)


class DeviceTables:
    """The devices of all partitions of a worker.

    Attributes:
        tables: by partition.
    """

    def __init__(self, most: int = MOST_DEVICES) -> None:
        self.tables: dict[int, Devices] = {}
        self._most = most

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))

    def __iter__(self) -> Iterator[DeviceSeen]:
        for table in list(self.tables.values()):
            yield from table

    @property
    def left_out(self) -> int:
        """Messages of devices for which there was no room."""
        return sum(table.left_out for table in self.tables.values())

    def note(self, partition: int, messages: Sequence[Message], refusals: Sequence[Refusal]) -> None:
        """Take in the messages of a chunk; those that were put back say nothing of their devices."""
        if not messages or messages[0].first is not None:
            return
        table = self.tables.get(partition)
        # Made when the first message comes: a partition without devices costs nothing.
        if table is None:
            table = self.tables[partition] = Devices(self._share)
        table.note(messages, refusals)

    def silent(self, silent_s: float, now: float) -> int:
        """Count those that have been silent for so long."""
        return sum(now - device.last >= silent_s for device in self)

    def _share(self) -> int:
        return self._most // max(1, len(self.tables))


def _bucket(level: str) -> int:
    return xxh3_64_intdigest(level.encode("utf-8", "surrogatepass")) % BUCKETS


def _is_device(level: str) -> bool:
    return (
        level.count("/") == LEVELS - 2
        and not level.endswith("/")
        and level.startswith(_PREFIX)
        and len(level) <= len(_PREFIX) + LONGEST_NAME
        and level.isprintable()
    )
