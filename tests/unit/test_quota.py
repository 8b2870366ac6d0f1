"""What a tenant may send: as much as its quota, a burst at once, and never at another's cost."""

import itertools
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import SettingsError
from streams.quota import Meter, Quota
from streams.rules.payload import MAX_BYTES
from streams.settings import Settings

INFINITE = float("inf")


def topic(tenant: str) -> str:
    return f"metrics/{tenant}/edge-1/cpu"


def passed(meter: Meter, tenant: str, count: int, now: float, size_bytes: int = 10) -> int:
    return sum(not meter.is_over(topic(tenant), size_bytes, now) for _ in range(count))


def test_a_burst_passes_at_once_and_then_as_many_as_the_quota() -> None:
    meter = Meter(Quota(100, INFINITE, 2))
    assert passed(meter, "a", 1_000, now=50.0) == 200
    assert passed(meter, "a", 1_000, now=50.5) == 50
    assert passed(meter, "a", 1_000, now=60.0) == 200


def test_bytes_count_as_well() -> None:
    meter = Meter(Quota(INFINITE, 1_024, 2))
    assert passed(meter, "a", 100, now=50.0, size_bytes=128) == 16
    assert passed(meter, "a", 100, now=51.0, size_bytes=512) == 2


def test_what_is_over_uses_nothing() -> None:
    meter = Meter(Quota(INFINITE, 1_000, 2))
    assert passed(meter, "a", 1, now=50.0, size_bytes=1_500) == 1
    assert passed(meter, "a", 5, now=50.0, size_bytes=1_000) == 0
    assert passed(meter, "a", 1, now=50.0, size_bytes=500) == 1


def test_one_tenant_uses_nothing_of_another() -> None:
    meter = Meter(Quota(100, INFINITE, 1))
    assert passed(meter, "honest", 1, now=50.0) == 1
    assert passed(meter, "hostile", 10_000, now=50.0) < 101
    assert passed(meter, "honest", 50, now=50.0) == 50


def test_the_topics_and_spellings_of_a_tenant_are_one() -> None:
    meter = Meter(Quota(8, INFINITE, 1))
    topics = [f"metrics/{name}/edge-{number}/cpu" for number in range(50) for name in ("ab", "AB")]
    assert sum(not meter.is_over(each, 1, 50.0) for each in topics) == 8


def test_who_invents_tenants_has_no_more_than_one_has() -> None:
    meter = Meter(Quota(100, INFINITE, 1))
    assert passed(meter, "honest", 1, now=50.0) == 1
    assert sum(passed(meter, str(uuid.uuid4()), 1, now=50.0) for _ in range(5_000)) == 99
    assert passed(meter, "honest", 10, now=50.0) == 10


def test_who_sends_is_not_forgotten_for_those_who_come() -> None:
    meter = Meter(Quota(100, INFINITE, 1), most=20)
    now = 50.0
    for number in itertools.count():
        now += 0.02
        passed(meter, f"newcomer-{number}", 1, now)
        assert passed(meter, "steady", 1, now) == 1
        if number > 500:
            break
    assert len(meter._young) + len(meter._old) <= 40


def test_what_is_remembered_is_bounded() -> None:
    meter = Meter(Quota(INFINITE, INFINITE, 1), most=10)
    for number in range(1_000):
        passed(meter, f"{number}", 1, now=50.0)
    assert len(meter._young) + len(meter._old) <= 20
    assert len(meter._by_topic) <= 20


@given(st.lists(st.tuples(st.floats(0, 0.2), st.integers(0, 200)), max_size=200))
def test_in_no_stretch_of_time_more_passes_than_quota_and_burst(steps: list[tuple[float, int]]) -> None:
    quota, now = Quota(20, 1_000, 1), 100.0
    meter = Meter(quota)
    came: list[tuple[float, int]] = []
    for pause_s, size_bytes in steps:
        now += pause_s
        if not meter.is_over(topic("a"), size_bytes, now):
            came.append((now, size_bytes))
    for first in range(len(came)):
        for last in range(first, len(came)):
            lasted_s = came[last][0] - came[first][0] + quota.burst_s
            assert last - first + 1 <= quota.messages_per_s * lasted_s + 1e-6
            assert sum(size for _, size in came[first : last + 1]) <= quota.bytes_per_s * lasted_s + 1e-6


def test_a_payload_that_is_too_large_counts_as_the_largest() -> None:
    meter = Meter(Quota(INFINITE, MAX_BYTES, 2))
    assert passed(meter, "a", 5, now=50.0, size_bytes=10 * MAX_BYTES) == 2


def test_without_a_setting_there_is_no_quota() -> None:
    assert Quota.of(Settings.from_mapping({})) is None
    quota = Quota.of(Settings.from_mapping({"QUOTA_MESSAGES_PER_S": "5"}))
    assert quota == Quota(5, INFINITE, 10)


@pytest.mark.parametrize(
    ("given_settings", "says"),
    [
        ({"QUOTA_MESSAGES_PER_S": "0.01"}, "not one message would ever pass"),
        ({"QUOTA_BYTES_PER_S": "6000"}, "a payload of 65,536 bytes would never pass"),
        ({"QUOTA_MESSAGES_PER_S": "-1"}, "QUOTA_MESSAGES_PER_S"),
    ],
)
def test_a_quota_that_nothing_could_pass_is_refused(given_settings: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.from_mapping(given_settings)
