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
    """Return topic and payload."""
    tenant = source.pick([TENANT, TENANT.upper(), TENANT[:-1], "é"])
    topic = f"metrics/{tenant}/{_name(source, 64)}/{_name(source, 64)}"
    members = {
        "value": source.pick([*_VALUES, *_BOUNDS]),
        "timestamp": _timestamp(source),
        "dedupe_id": source.pick([None, "", "0", 0, 7, 1.5, True, source.text(), _name(source, 128)]),
    }
    kept = {name: value for name, value in members.items() if source.number() % 8}
    return topic, json.dumps(kept, ensure_ascii=bool(source.number() % 2)).encode(errors="surrogatepass")


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
    year, month, day = (
        source.pick([1969, 1970, 2024, 2026, 2038, 2039]),
        source.number() % 14,
        source.number() % 33,
    )
    hour, minute, second = source.number() % 25, source.number() % 61, source.number() % 62
    fraction = source.pick(["", ".", f".{source.number(4)}", f".{'9' * source.number()}"])
    date, time = f"{year}-{month:02}-{day:02}", f"{hour:02}:{minute:02}:{second:02}"
    return f"{date}{source.pick(_SEPARATORS)}{time}{fraction}{source.pick(_ZONES)}"
