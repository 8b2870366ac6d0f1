"""Devices follow their tenants, however often that is cut off and done again."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from streams.growth.devices import Buckets, moves, take_in
from streams.ingress.chunking import partition_of
from streams.wire.devices import DeviceSeen, encode

BEFORE, AFTER = 4, 8


def tenant_of(partition: int, *, of: int) -> str:
    while partition_of(tenant := str(uuid.uuid4()), of) != partition:
        pass
    return tenant


STAYS, MOVES = tenant_of(1, of=AFTER), tenant_of(5, of=AFTER)


def device(tenant: str, name: str = "edge", messages: int = 1) -> DeviceSeen:
    return DeviceSeen(f"{tenant}/{name}", 100.0, messages, 0)


def stored(*devices: DeviceSeen, key: bytes = b"17") -> Buckets:
    buckets: Buckets = {}
    take_in(buckets, key, encode(devices))
    return buckets


def after_moves(logs: dict[int, Buckets], *, cut_off_after: int | None = None) -> None:
    """Write what `moves` yields to the logs, or the beginning of it."""
    written = list(moves(dict(logs[1]), 1, AFTER, {5: dict(logs[5])}))
    for partition, key, value in written[:cut_off_after]:
        take_in(logs[partition], key, value)


def names(buckets: Buckets) -> set[str]:
    return {each.name for devices in buckets.values() for each in devices}


@given(st.lists(st.integers(0, 2), max_size=3))
def test_each_device_ends_where_its_tenant_is_however_often_it_was_cut_off(cuts: list[int]) -> None:
    logs: dict[int, Buckets] = {1: stored(device(STAYS), device(MOVES)), 5: {}}
    for cut in cuts:
        after_moves(logs, cut_off_after=cut)
        assert names(logs[1]) | names(logs[5]) == {f"{STAYS}/edge", f"{MOVES}/edge"}
    after_moves(logs)
    assert names(logs[1]) == {f"{STAYS}/edge"}
    assert names(logs[5]) == {f"{MOVES}/edge"}
    assert logs[5][b"17"] == [device(MOVES)]


def test_where_all_stay_nothing_is_written() -> None:
    assert list(moves(stored(device(STAYS)), 1, AFTER, {})) == []


def test_what_the_new_partition_has_counted_since_is_not_set_back() -> None:
    newer = device(MOVES, messages=9)
    logs = {1: stored(device(MOVES)), 5: stored(newer)}
    after_moves(logs)
    assert logs[5][b"17"] == [newer]


def test_a_record_that_is_none_of_ours_is_passed_over() -> None:
    buckets = stored(device(STAYS))
    take_in(buckets, b"18", b"rubbish")
    assert list(buckets) == [b"17"]
