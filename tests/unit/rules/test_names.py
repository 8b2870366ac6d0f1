from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models import Reason
from streams.rules.names import check_agent_id, check_metric_name, read_dedupe_id, read_tenant_id
from streams.rules.problem import Problem, shown
from tests.parts.names import named

CONTROLS = [
    "\x01",
    "a\x1b[2J",
    "a\nb",
    "\x7f",
    "\x85",
    "\x9b",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u061c",
    "\u2028",
]


@pytest.mark.parametrize("text", CONTROLS)
def test_a_dedupe_id_is_taken_as_it_is_and_shown_escaped(text: str) -> None:
    assert read_dedupe_id(text) == text
    assert shown(text).isprintable()


@pytest.mark.parametrize(
    ("check", "reason"),
    [(check_agent_id, Reason.AGENT_ID_INVALID), (check_metric_name, Reason.METRIC_NAME_INVALID)],
)
def test_a_level_has_at_most_64_characters_that_a_database_can_hold(
    check: Callable[[str], Problem | None], reason: Reason
) -> None:
    for fine in ("a", "edge 7", "#+$", "\u200d", "\u0639\u05d0", "é" * 64, "\U0001f600" * 64):
        assert check(fine) is None
    for bad in ("a" * 65, "\U0001f600" * 65, "a\0b", "a\ud800", "a\ufffd", *CONTROLS):
        problem = check(bad)
        assert problem is not None
        assert problem.reason is reason


def test_what_is_wrong_with_a_name_is_said_with_what_was_found() -> None:
    for name, check in (("agent_id", check_agent_id), ("metric_name", check_metric_name)):
        long, odd = check("a" * 65), check("a\nb")
        assert long is not None
        assert odd is not None
        assert long.detail == f"{name} has 65 characters; at most 64 are allowed"
        assert odd.detail == rf"{name} is 'a\nb'; it holds a control character or was not UTF-8"
    for value, detail in (
        ([], "dedupe_id is an array; it must be a string or an integer of at most 128 characters"),
        ("a" * 129, "dedupe_id has 129 characters; at most 128 are allowed"),
        ("a\0", r"dedupe_id is 'a\x00'; it holds a NUL or half of a surrogate pair"),
    ):
        assert read_dedupe_id(value) == Problem(Reason.DEDUPE_ID_INVALID, detail)
    detail = "tenant_id is 'acme'; it must be a UUID such as 7c9e6679-7425-40de-944b-e07fc1f90ae7"
    assert read_tenant_id("acme") == Problem(Reason.TENANT_NOT_A_UUID, detail)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("d-1", "d-1"),
        (" ", " "),
        (17, "17"),
        (-17, "-17"),
        (0, "id-0"),
        ("0", "id-0"),
        ("00", "00"),
        ("0.0", "0.0"),
        ("\ufffd", "\ufffd"),
        ("é" * 128, "é" * 128),
        (10**127, str(10**127)),
    ],
    ids=named,
)
def test_strings_and_integers_are_dedupe_ids(value: object, expected: str | None) -> None:
    assert read_dedupe_id(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        1.0,
        float("inf"),
        [],
        {},
        ["d-1"],
        "a" * 129,
        "\U0001f600" * 129,
        "a\0",
        "\ud800",
        10**128,
        -(10**127),
        10**5000,
    ],
    ids=named,
)
def test_anything_else_is_no_dedupe_id(value: object) -> None:
    problem = read_dedupe_id(value)
    assert isinstance(problem, Problem)
    assert problem.reason is Reason.DEDUPE_ID_INVALID


@given(st.uuids())
def test_a_uuid_is_a_tenant_in_any_case(uuid: UUID) -> None:
    assert read_tenant_id(str(uuid)) == read_tenant_id(str(uuid).upper()) == str(uuid)


@pytest.mark.parametrize(
    "text",
    [
        "acme",
        "7c9e6679742540de944be07fc1f90ae7",
        "{7c9e6679-7425-40de-944b-e07fc1f90ae7}",
        "urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "7c9e6679-7425-40de-944b-e07fc1f90ae7\n",
        "7c9e6679-7425-40de-944b-e07fc1f90ae",
        "7c9e6679-7425-40de-944b-e07fc1f90aeg",
        "7c9e6679-7425-40de-944b-e07fc1f90ae\u0667",
        "\ufffd",
    ],
    ids=named,
)
def test_anything_else_is_no_tenant(text: str) -> None:
    problem = read_tenant_id(text)
    assert isinstance(problem, Problem)
    assert problem.reason is Reason.TENANT_NOT_A_UUID
