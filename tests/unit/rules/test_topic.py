"""What a topic says: its levels, what is wrong with each, and the bytes that stand for it in digests."""

from hashlib import blake2b

import pytest

from streams.models import Reason
from streams.rules.problem import Problem
from streams.rules.topic import LONGEST_REMEMBERED, Series, read_topic

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def series(topic: str) -> Series:
    found = read_topic(topic)
    assert isinstance(found, Series), found
    return found


def test_a_sound_topic_names_a_metric_of_a_device_of_a_tenant() -> None:
    found = series(f"metrics/{TENANT.upper()}/edge-7/cpué")
    assert (found.tenant_id, found.agent_id, found.metric_name) == (TENANT, "edge-7", "cpué")
    assert (found.names_problem, found.tenant_problem, found.is_sound) == (None, None, True)


def test_the_bytes_that_stand_for_a_topic_never_change() -> None:
    """Fingerprints and rows of years ago bear them."""
    found = series(f"metrics/{TENANT}/edge-7/é")
    assert found.names == "6:edge-7é".encode()
    assert found.tenant_tag == blake2b(TENANT.encode(), digest_size=8).digest()
    assert series(f"metrics/{TENANT.upper()}/edge-7/é").tenant_tag == found.tenant_tag


@pytest.mark.parametrize(
    ("agent", "metric", "reason"),
    [
        ("a" * 65, "cpu", Reason.AGENT_ID_INVALID),
        ("edge-7", "m" * 65, Reason.METRIC_NAME_INVALID),
        ("a" * 65, "m" * 65, Reason.AGENT_ID_INVALID),
        ("edge-7", "a\ud800", Reason.METRIC_NAME_INVALID),
    ],
)
def test_a_name_that_is_wrong_makes_a_topic_unsound(agent: str, metric: str, reason: Reason) -> None:
    found = series(f"metrics/{TENANT}/{agent}/{metric}")
    assert found.names_problem is not None
    assert (found.names_problem.reason, found.tenant_problem, found.is_sound) == (reason, None, False)


@pytest.mark.parametrize("tenant", ["acme", "Acme", "\ud800"])
def test_a_tenant_that_is_no_uuid_makes_a_topic_unsound_and_is_known_as_it_was_written(tenant: str) -> None:
    found = series(f"metrics/{tenant}/edge-7/cpu")
    assert found.tenant_problem is not None
    assert found.tenant_problem.reason is Reason.TENANT_NOT_A_UUID
    assert (found.tenant_id, found.names_problem, found.is_sound) == (tenant, None, False)


@pytest.mark.parametrize("topic", [f"metrics/{TENANT}/{{}}/cpu", "measures/a/b/{}", "{}"])
def test_a_topic_that_is_too_long_to_be_remembered_is_read_as_any_other(topic: str) -> None:
    for length in (LONGEST_REMEMBERED, LONGEST_REMEMBERED + 1):
        whole = topic.format("a" * (length - len(topic) + 2))
        assert len(whole) == length
        found = read_topic(whole)
        if isinstance(found, Problem):
            assert found.reason is Reason.TOPIC_MALFORMED
        else:
            assert found.names_problem is not None
            assert found.names_problem.reason is Reason.AGENT_ID_INVALID


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        ("metrics//b/c", "level 2 of the topic 'metrics//b/c' is empty"),
        ("metrics/a/b/", "level 4 of the topic 'metrics/a/b/' is empty"),
        ("metrics/a\0/b/c", "level 2 of the topic holds a NUL"),
        ("metrics/a/b\0/\0", "level 3 of the topic holds a NUL"),
        ("Metrics/a/b/c", "the topic begins with 'Metrics'"),
        ("metrics/a", "the topic 'metrics/a' has 2 levels"),
    ],
)
def test_what_makes_a_topic_malformed_is_named_by_its_level(topic: str, found: str) -> None:
    said = f"{found}; it must be metrics/{{tenant_id}}/{{agent_id}}/{{metric_name}}"
    assert read_topic(topic) == Problem(Reason.TOPIC_MALFORMED, said)
