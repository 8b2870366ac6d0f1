"""What a tenant may send: as much as its quota, a burst at once, and never at another's cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import SettingsError
from streams.ingress.quota import REMEMBERED_S, Meter, Quota, QuotaVerdict
from streams.rules.payload import MAX_BYTES
from streams.settings import Settings

INFINITE = float("inf")


def topic(tenant: str) -> str:
    return f"metrics/{tenant}/edge-1/cpu"


def passed(meter: Meter, tenant: str, count: int, now: float, size_bytes: int = 10) -> int:
    return sum(weigh(meter, tenant, now, size_bytes) is QuotaVerdict.WITHIN for _ in range(count))


def weigh(meter: Meter, tenant: str, now: float, size_bytes: int = 10) -> QuotaVerdict:
    return meter.weigh(topic(tenant), size_bytes, now)


def test_a_burst_passes_at_once_and_then_as_many_as_the_quota() -> None:
    meter = Meter(Quota(100, INFINITE, 2))
    assert passed(meter, "a", 1_000, now=50.0) == 200
    assert passed(meter, "a", 1_000, now=51.25) == 125
    assert passed(meter, "a", 1_000, now=60.0) == 200


def test_bytes_count_as_well() -> None:
    meter = Meter(Quota(INFINITE, 1_024, 2))
    assert passed(meter, "a", 100, now=50.0, size_bytes=128) == 16
    assert passed(meter, "a", 100, now=51.0, size_bytes=512) == 2
    assert passed(meter, "a", 100, now=51.5, size_bytes=1) == 0


def test_what_is_over_uses_nothing() -> None:
    meter = Meter(Quota(INFINITE, 1_000, 4))
    assert passed(meter, "a", 1, now=50.0, size_bytes=2_000) == 1
    assert passed(meter, "a", 5, now=50.0, size_bytes=3_000) == 0
    assert passed(meter, "a", 1, now=50.0, size_bytes=1_000) == 1


def test_one_tenant_uses_nothing_of_another() -> None:
    meter = Meter(Quota(100, INFINITE, 1))
    assert passed(meter, "honest", 1, now=50.0) == 1
    assert passed(meter, "hostile", 10_000, now=50.0) < 101
    assert passed(meter, "honest", 50, now=50.0) == 50


def test_the_topics_and_spellings_of_a_tenant_are_one() -> None:
    meter = Meter(Quota(8, INFINITE, 1))
    topics = [f"metrics/{name}/edge-{number}/cpu" for number in range(50) for name in ("ab", "AB")]
    assert sum(meter.weigh(each, 1, 50.0) is QuotaVerdict.WITHIN for each in topics) == 8


def test_a_fleet_that_is_met_for_the_first_time_is_let_in_at_once() -> None:
    """As after a start, or where another worker leads."""
    meter = Meter(Quota(1, INFINITE, 10))
    assert sum(passed(meter, f"tenant-{number}", 1, now=50.0) for number in range(20_000)) == 20_000


def test_who_invents_tenants_makes_nobody_forgotten_who_is_heard_of_once_in_an_hour() -> None:
    meter, most = Meter(Quota(100, INFINITE, 1), most=360), 360
    passed(meter, "honest", 1, now=0.0)
    invented = 0
    for second in range(int(3 * REMEMBERED_S)):
        invented += sum(passed(meter, f"{second}-{number}", 1, float(second)) for number in range(20))
        if second % (REMEMBERED_S - 60) == 0:
            assert passed(meter, "honest", 1, float(second)) == 1, second
    assert invented < 5 * most


def test_who_has_gone_over_stays_so_until_there_is_a_second_of_it() -> None:
    """So that a chunk ends once or so in a second, and not before each message that passes again."""
    meter = Meter(Quota(100, INFINITE, 4))
    assert passed(meter, "a", 400, now=50.0) == 400
    assert weigh(meter, "a", 50.0) is QuotaVerdict.GONE_OVER
    assert weigh(meter, "a", 50.0) is QuotaVerdict.OVER
    assert weigh(meter, "a", 50.9) is QuotaVerdict.OVER
    assert passed(meter, "a", 200, now=51.1) == 110
    assert weigh(meter, "a", 51.1) is QuotaVerdict.OVER  # the first of those has said so


def test_what_is_sent_again_is_not_counted_and_what_is_over_behind_it_has_gone_over_anew() -> None:
    meter = Meter(Quota(100, INFINITE, 1))
    assert passed(meter, "a", 200, now=50.0) == 100
    assert weigh(meter, "a", 50.0) is QuotaVerdict.OVER
    meter.let_pass(topic("a"), 50.0)
    assert weigh(meter, "a", 50.0) is QuotaVerdict.GONE_OVER


def test_what_is_remembered_is_bounded() -> None:
    meter = Meter(Quota(INFINITE, INFINITE, 1), most=10)
    for number in range(1_000):
        passed(meter, f"{number}", 1, now=50.0 + 1_000 * number)
    assert len(meter._young) + len(meter._old) <= 20
    assert len(meter._by_topic) <= 20


@given(st.lists(st.tuples(st.floats(0, 0.2), st.integers(0, 200)), max_size=200))
def test_in_no_stretch_of_time_more_passes_than_quota_and_burst(steps: list[tuple[float, int]]) -> None:
    quota, now = Quota(20, 1_000, 1), 100.0
    meter = Meter(quota)
    came: list[tuple[float, int]] = []
    for pause_s, size_bytes in steps:
        now += pause_s
        if weigh(meter, "a", now, size_bytes) is QuotaVerdict.WITHIN:
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
        ({"QUOTA_ACTION": "hold", "DEDUPE_WINDOW_S": "60"}, "a window of 120 s or more"),
        ({"QUOTA_ACTION": "hold", "REJECTED_RETENTION_S": "1200"}, "which may be 1800 s, half of DEDUPE"),
        ({"QUOTA_MESSAGES_PER_S": "-1"}, "QUOTA_MESSAGES_PER_S"),
    ],
)
def test_a_quota_that_nothing_could_pass_is_refused(given_settings: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.from_mapping(given_settings)
