"""The names: tenant, agent and metric from the topic, and the dedupe id from the payload.

They are at least as strict as the columns behind the job (varchar of 64, 64 and 128 code points, uuid), since
one row that the database refuses fails every row of its job.

A database's own notion of equality can be wider than ours: to MySQL's usual collations ``A1``, ``a1`` and
``a1 `` are one dedupe id. Such ids pass as different here; PostgreSQL keeps them apart, and MySQL's
``ON DUPLICATE KEY UPDATE`` takes them in turn.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from streams.models import Reason
from streams.rules.problem import Problem, shown

AGENT_ID_LENGTH = 64
METRIC_NAME_LENGTH = 64
DEDUPE_ID_LENGTH = 128

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
# PostgreSQL's text holds neither NUL nor lone surrogates; the replacement character stands where the bytes of
# a topic were not UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# A name is shown in terminals, logs and dashboards: nothing in it may move a cursor, break a line or turn the
# direction of writing. A dedupe id is not looked at in this way: the application's HTTP route takes any.
_NOT_IN_A_NAME = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffd]"
)
_LONGEST_INTEGER = 10**DEDUPE_ID_LENGTH


def check_agent_id(agent_id: str) -> Problem | None:
    """Check the topic's third level."""
    return _check_level("agent_id", agent_id, AGENT_ID_LENGTH, Reason.AGENT_ID_INVALID)


def check_metric_name(metric_name: str) -> Problem | None:
    """Check the topic's fourth level."""
    return _check_level("metric_name", metric_name, METRIC_NAME_LENGTH, Reason.METRIC_NAME_INVALID)


def read_dedupe_id(value: object) -> str | Problem | None:
    """Return the dedupe id; None where it is absent or empty.

    ``0`` becomes ``id-0``: to PHP's ``empty()``, which the job asks, "0" is no id, so the job would insert
    the row, and the second time the unique index would fail the whole job.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return _check_dedupe_id(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LONGEST_INTEGER:
        return _check_dedupe_id(str(value))
    expected = f"a string or an integer of at most {DEDUPE_ID_LENGTH} characters"
    return Problem(Reason.DEDUPE_ID_INVALID, f"dedupe_id is {shown(value)}; it must be {expected}")


TEXTS: Mapping[str, Callable[[object], str | Problem | None]] = MappingProxyType(
    {"dedupe_id": read_dedupe_id}
)
"""The rule for each text of a payload, in the order of their reasons: the dedupe id and what is `FURTHER`."""


def read_tenant_id(text: str) -> str | Problem:
    """Return the tenant's id in lower case."""
    if _UUID.fullmatch(text):
        return text.lower()
    expected = "a UUID such as 7c9e6679-7425-40de-944b-e07fc1f90ae7"
    return Problem(Reason.TENANT_NOT_A_UUID, f"tenant_id is {shown(text)}; it must be {expected}")


def _check_level(name: str, text: str, length: int, reason: Reason) -> Problem | None:
    if len(text) > length:
        return Problem(reason, f"{name} has {len(text)} characters; at most {length} are allowed")
    if _NOT_IN_A_NAME.search(text):
        found = f"{name} is {shown(text)}; it holds a control character or was not UTF-8"
        return Problem(reason, found)
    return None


def _check_dedupe_id(text: str) -> str | Problem:
    if len(text) > DEDUPE_ID_LENGTH:
        found = f"dedupe_id has {len(text)} characters; at most {DEDUPE_ID_LENGTH} are allowed"
        return Problem(Reason.DEDUPE_ID_INVALID, found)
    if not (text.isascii() and "\0" not in text) and _UNSTORABLE.search(
        text
    ):  # ASCII is told in a fifth of the time
        found = f"dedupe_id is {shown(text)}; it holds a NUL or half of a surrogate pair"
        return Problem(Reason.DEDUPE_ID_INVALID, found)
    return "id-0" if text == "0" else text
