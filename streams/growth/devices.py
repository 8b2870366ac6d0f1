"""Moves what is known of devices to the partitions of their tenants: the worker there counts on from it.

Otherwise a device whose tenant has moved would be listed twice, once as silent.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from streams.errors import MalformedRecord
from streams.ingress.chunking import partition_of, tenant_level
from streams.rules.topic import ROOT
from streams.wire import devices as wire
from streams.wire.devices import DeviceSeen

Buckets = dict[bytes, list[DeviceSeen]]
"""The devices of a partition, by the key of their bucket."""


def take_in(buckets: Buckets, key: bytes, value: bytes | None) -> None:
    """Take in a record of metrics.devices; what is none of ours is passed over."""
    with suppress(MalformedRecord):
        buckets[key] = [] if value is None else wire.decode(value)


def moves(
    buckets: Buckets, partition: int, partitions: int, at_heirs: dict[int, Buckets]
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the records to be written, as (partition, key, value).

    Those of the new partitions come first, so that no device is lost where it is cut off, and doing it again
    changes nothing.

    Args:
        buckets: of the partition.
        partition: from which tenants move.
        partitions: how many there are to be.
        at_heirs: what stands at the new partitions already.
    """
    for key, devices in buckets.items():
        going: dict[int, list[DeviceSeen]] = {}
        for device in devices:
            going.setdefault(_partition(device, partitions), []).append(device)
        for heir in sorted(going.keys() - {partition}):
            known = at_heirs.get(heir, {}).get(key, [])
            yield heir, key, wire.encode(list(_latest([*known, *going[heir]])))
        if going.keys() - {partition}:
            yield partition, key, wire.encode(going.get(partition, []))


def _latest(devices: Iterable[DeviceSeen]) -> Iterable[DeviceSeen]:
    latest: dict[str, DeviceSeen] = {}
    for device in devices:
        known = latest.get(device.name)
        if known is None or (known.messages, known.last) < (device.messages, device.last):
            latest[device.name] = device
    return latest.values()


def _partition(device: DeviceSeen, partitions: int) -> int:
    return partition_of(tenant_level(f"{ROOT}/{device.name}"), partitions)
