"""Reads ``metrics.devices``: for the worker that takes a partition, the command and the dashboard."""

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from streams.browse.filters import matcher
from streams.browse.reader import Range, opened
from streams.errors import MalformedRecord
from streams.settings import Settings
from streams.wire import devices as wire
from streams.wire.devices import DeviceSeen

TOPIC = "devices"


@dataclass(frozen=True)
class DeviceFilter:
    """Which devices are meant; what is left out lets all pass.

    Attributes:
        tenants: globs, of which one must match.
        agents: likewise.
        silent_since: only those that were heard last before this Unix time in seconds.
        heard_since: only those that were heard since.
    """

    tenants: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    silent_since: float | None = None
    heard_since: float | None = None
    _tenant: Callable[[str], object] | None = field(init=False, repr=False, compare=False)
    _agent: Callable[[str], object] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tenant", matcher([each.lower() for each in self.tenants]))
        object.__setattr__(self, "_agent", matcher(self.agents))

    def matches(self, device: DeviceSeen) -> bool:
        """Tell whether a device is meant."""
        return (
            (self.silent_since is None or device.last < self.silent_since)
            and (self.heard_since is None or device.last >= self.heard_since)
            and (self._tenant is None or self._tenant(device.tenant_id) is not None)
            and (self._agent is None or self._agent(device.agent_id) is not None)
        )


async def read_buckets(settings: Settings, partition: int | None = None) -> AsyncGenerator[bytes, None]:
    """Yield the latest record of every bucket, of one partition or of all.

    Raises:
        MetricStreamsError: there is no such topic.
        Outage: Kafka does not answer.
    """
    latest: dict[tuple[int, bytes], bytes] = {}
    span = Range(only=None if partition is None else [partition])
    async with opened(settings, [TOPIC], span) as topics:
        async for record in topics.scan():
            latest[record.partition, record.key] = record.value
    for value in latest.values():
        yield value


async def read_devices(settings: Settings, wanted: DeviceFilter) -> AsyncGenerator[DeviceSeen, None]:
    """Yield the devices that are meant, in no order.

    Raises:
        MetricStreamsError: there is no such topic.
        Outage: Kafka does not answer.
    """
    async for value in read_buckets(settings):
        with suppress(MalformedRecord):
            for device in wire.decode(value):
                if wanted.matches(device):
                    yield device
