"""When devices were heard last: counted, bounded whatever they call themselves, and read back."""

import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.commands.devices import shown
from streams.last_seen.reading import DeviceFilter
from streams.last_seen.table import BUCKETS, LONGEST_NAME, MOST_NOTED, Devices, DeviceTables
from streams.models import FirstPlace, Message, Reason, Stage
from streams.wire.decision import Refusal
from streams.wire.devices import DeviceSeen, decode, encode

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
AT = "2026-11-23T14:00:00.000000Z"
LATER = "2026-11-23T14:01:00.000000Z"
AT_S = 1_795_442_400.0
REFUSED = (Stage.VALIDATE, Reason.TENANT_UNKNOWN, "no")


def message(agent: str = "edge-1", at: str = AT, tenant: str = TENANT, **more: Any) -> Message:
    return Message(f"metrics/{tenant}/{agent}/cpu", "{}", None, at, 1, **more)


def table(most: int = 1_000) -> Devices:
    return Devices(lambda: most)


def told(devices: Devices) -> dict[str, tuple[float, int, int]]:
    devices.work_out()
    return {each.agent_id: (each.last, each.messages, each.rejected) for each in devices}


def test_each_device_has_its_last_time_and_its_counts() -> None:
    devices = table()
    devices.note([message("a"), message("b"), message("a")], [Refusal(1, *REFUSED)])
    devices.note([message("a", LATER)], [])
    assert told(devices) == {"a": (AT_S + 60, 3, 0), "b": (AT_S, 1, 1)}


def test_a_backlog_that_is_caught_up_with_keeps_the_times_apart() -> None:
    """Hours of arrivals within a second of work: each has its own time, to ten seconds."""
    devices = table()
    for hour in range(24):
        devices.note([message(f"edge-{hour}", f"2026-11-23T{hour:02}:30:00.000000Z")], [])
    first = AT_S - 14 * 3_600 + 1_800
    assert told(devices) == {f"edge-{hour}": (first + 3_600 * hour, 1, 0) for hour in range(24)}


def test_what_was_put_back_says_nothing_of_its_device() -> None:
    tables = DeviceTables()
    tables.note(3, [message(first=FirstPlace(0, 3, 5, 0))], [])
    tables.note(3, [], [])
    assert not tables.tables


hostile_names = st.text(alphabet=string.printable + "\0\u202e\ud800/", max_size=2 * LONGEST_NAME)


@given(st.lists(hostile_names, min_size=1, max_size=40))
def test_no_name_makes_it_fail_or_grow_or_garble_a_terminal(names: list[str]) -> None:
    devices = table(most=20)
    for name in names:
        devices.note([Message(name, "{}", None, AT, 1), message(name)], [Refusal(1, *REFUSED)])
    devices.work_out()
    assert sum(each.messages for each in devices) + devices.left_out == 2 * len(names)
    devices.make_room(AT_S)
    assert len(devices) <= 20
    for each in devices:
        assert decode(encode([each])) == [each]
        assert len(each.name) <= LONGEST_NAME
    for line in shown(list(devices), AT_S, len(devices)):
        assert len(line) <= 80
        assert line.isprintable()


def test_devices_with_made_up_names_drive_out_no_honest_one() -> None:
    devices = table(most=1_000)
    honest = [message(f"edge-{number}", tenant=f"tenant-{number % 10}") for number in range(100)]
    devices.note(honest, [])
    for flood in range(50):
        made_up = [message(f"x{flood}-{number}", LATER, "hostile") for number in range(500)]
        devices.note(made_up, [Refusal(number, *REFUSED) for number in range(0, 500, 2)])
        devices.work_out()
        assert len(devices) <= 1_000
        devices.make_room(AT_S + 60)
    assert {each.agent_id for each in devices} >= {f"edge-{number}" for number in range(100)}
    assert devices.left_out


def test_names_that_wait_to_be_worked_out_are_bounded() -> None:
    devices = table(most=10)
    for start in range(0, 5 * MOST_NOTED, 500):
        devices.note([message(f"x{start + number}") for number in range(500)], [])
    assert len(devices._noted) <= MOST_NOTED + 500


def test_only_what_has_changed_is_written() -> None:
    devices = table()
    devices.note([message(f"edge-{number}") for number in range(500)], [])
    devices.work_out()
    written = dict(devices.changes())
    assert len(written) <= BUCKETS
    assert sum(map(len, written.values())) == 500
    assert list(devices.changes()) == []
    devices.note([message("edge-7", LATER)], [])
    devices.work_out()
    ((_, bucket),) = devices.changes()
    assert "edge-7" in {each.agent_id for each in bucket}


def test_what_was_stored_before_is_added_and_the_long_silent_forgotten() -> None:
    devices = table()
    devices.note([message("a")], [])
    devices.work_out()
    old = [
        DeviceSeen(f"{TENANT}/a", AT_S - 5, 10, 2),
        DeviceSeen(f"{TENANT}/b", AT_S - 9, 7, 7),
        DeviceSeen(f"{TENANT}/gone", AT_S - 31 * 86_400, 7, 7),
    ]
    devices.take_in(old, AT_S)
    assert told(devices) == {"a": (AT_S, 11, 2), "b": (AT_S - 9, 7, 7)}


def test_a_hundred_thousand_devices_of_ten_thousand_tenants_fit() -> None:
    tables = DeviceTables()
    for number in range(100_000):
        chunk = [message(f"edge-{number}", tenant=f"tenant-{number % 10_000}")]
        tables.note(number % 10_000 % 8, chunk, [])
    for each in tables.tables.values():
        each.work_out()
        each.make_room(AT_S)
    assert (len(tables), tables.left_out) == (100_000, 0)
    assert tables.silent(60, AT_S + 60) == 100_000
    largest = max(len(encode(devices)) for each in tables.tables.values() for _, devices in each.changes())
    assert largest < 100_000


def test_filters_choose_by_globs_and_by_silence() -> None:
    device = DeviceSeen(f"{TENANT}/edge-1", 1_000.0, 1, 0)
    assert DeviceFilter().matches(device)
    assert DeviceFilter(tenants=(TENANT.upper(),), agents=("edge-*",), silent_since=1_001.0).matches(device)
    assert not DeviceFilter(silent_since=1_000.0).matches(device)
    assert not DeviceFilter(agents=("other",)).matches(device)
    assert DeviceFilter(heard_since=1_000.0).matches(device)
    assert not DeviceFilter(heard_since=1_000.5).matches(device)
