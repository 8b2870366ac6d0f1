"""Publications that come close to what is valid, built from the fuzzer's bytes."""

import json
from typing import Any

from tests.fuzz.source import Source

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
_CHARACTERS = ["a", "é", "\U0001f600", "\0", "\ufffd", "/", "\ud800", "\x7f", "+", "0"]
_VALUES = [
    0,
    -0.0,
    1,
    "1",
    " 1.5e3\n",
    "nan",
    "INF",
    "0x1",
    "1_0",
    ".5",
    "5.",
    "-",
    True,
    None,
    [],
    {},
    "1e400",
]
_BOUNDS = [999_999_999_999, 999_999_999_999.9999, 10**12, -(10**12), 1e308, 5e-324, 2**53 + 1, 10**30]
_SEPARATORS = ["T", " ", "t", "_", ""]
_ZONES = ["Z", "z", "+00:00", "-00:00", "+23:59", "-05:30", "+24:00", "", "+0100"]
_UNITS = [1, 10**3, 10**6, 10**9]


def built(source: Source) -> tuple[str, bytes]:
    """Return topic and payload; mostly one thing about them is odd, so that nothing else is refused."""
    odd = source.pick(["topic", "value", "timestamp", "timestamp", "dedupe_id", "all"])
    members = {
        "value": source.pick([*_VALUES, *_BOUNDS]) if odd in ("value", "all") else 42.17,
        "timestamp": _timestamp(source) if odd in ("timestamp", "all") else None,
        "dedupe_id": _dedupe_id(source) if odd in ("dedupe_id", "all") else "d-1",
    }
    ascii_only = bool(source.number() % 2)
    payload = json.dumps(members, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    return _topic(source) if odd in ("topic", "all") else f"metrics/{TENANT}/edge-7/cpu", payload


def _topic(source: Source) -> str:
    tenant = source.pick([TENANT, TENANT.upper(), TENANT[:-1], "é"])
    return f"metrics/{tenant}/{_name(source, 64)}/{_name(source, 64)}"


def _dedupe_id(source: Source) -> Any:
    return source.pick([None, "", "0", 0, 7, 1.5, True, source.text(), _name(source, 128)])


def _name(source: Source, length: int) -> str:
    """Return a name that may be just as long as is allowed, or one more."""
    return source.pick(_CHARACTERS) * source.pick([1, 2, length, length + 1]) + source.text()[:2]


def _timestamp(source: Source) -> Any:
    kind = source.number() % 4
    if kind == 0:
        return None
    if kind == 1:
        return source.pick([source.text(), True, [], 0, -1, 2_147_483_648, 1.5, "1e9"])
    if kind == 2:
        number = source.number(4) * source.pick(_UNITS)
        return source.pick([number, str(number), number / 7])
    return _written(source)


def _written(source: Source) -> str:
    """Return a time in RFC 3339 or nearly so."""
    year = source.pick([1969, 1970, 2024, 2026, 2038, 2039])
    month, day = source.pick([1, 2, 11, 12, 13]), source.pick([1, 10, 28, 29, 31, 0])
    hour = source.pick([0, 12, 23, 24])
    minute, second = source.pick([0, 30, 59, 60]), source.pick([0, 1, 59, 60, 61])
    fraction = source.pick(["", ".", f".{source.number(4)}", f".{'9' * source.number()}"])
    date, time = f"{year}-{month:02}-{day:02}", f"{hour:02}:{minute:02}:{second:02}"
    return f"{date}{source.pick(_SEPARATORS)}{time}{fraction}{source.pick(_ZONES)}"
