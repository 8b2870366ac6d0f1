"""What the devices of a storm publish. Pure: a message follows from its device's and its own number.

So a ledger needs to remember no message: of 20 in a row 10 have a dedupe_id and a timestamp, one a dedupe_id
alone, four correct an earlier one, three have a timestamp alone, one is an exact copy of an earlier one, and
one is malformed. So 4 of the 14 ids are corrected: three within a moment, one after some seconds.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

import msgspec

BASE = datetime(2026, 1, 1, tzinfo=UTC)
_BASE_US = int(BASE.timestamp()) * 1_000_000
_STEP_US = 1_000
_CYCLE = 20
_COPY_OF = 3
"""A copy repeats the message that came so many before it."""
_CORRECTED = {10: 9, 11: 9, 12: 9, 13: 509}
"""By the place in the cycle, how many numbers before a correction the message stands that it corrects."""
_UNKNOWN_TENANT = "00000000-0000-4000-8000-00000000dead"

FLOOD_DEVICE, DIRECT_DEVICE = 9_999, 9_998


class Kind(Enum):
    """What becomes of a message."""

    WITH_ID = auto()
    TIMED = auto()
    """Without a dedupe_id: its row is known by its timestamp."""
    CORRECTION = auto()
    """Has the dedupe_id of an earlier one and another value, which must be the last one."""
    COPY = auto()
    """Must add nothing."""
    MALFORMED = auto()


class Known(NamedTuple):
    """A message, found again in the database or among the rejected."""

    device: int
    number: int


def kind_of(number: int) -> Kind:
    """Return what a device's message of this number is."""
    if corrected_by(number) is not None:
        return Kind.CORRECTION
    match number % _CYCLE:
        case 15 | 16 | 17:
            return Kind.TIMED
        case 18:
            return Kind.COPY
        case 19:
            return Kind.MALFORMED
        case _:
            return Kind.WITH_ID


def corrected_by(number: int) -> int | None:
    """Return the number of the message that a correction corrects; None if this is no correction."""
    before = number - _CORRECTED.get(number % _CYCLE, number + 1)
    return before if before >= 0 else None


def correction_of(number: int) -> int | None:
    """Return the number of the message that corrects this one; None if none does."""
    for distance in set(_CORRECTED.values()):
        if corrected_by(number + distance) == number:
            return number + distance
    return None


def value_of(number: int) -> float:
    """Return the value that a well-formed message carries."""
    return number % 1_000 / 8


def message(device: int, number: int, tenants: Sequence[str]) -> tuple[str, bytes]:
    """Return topic and payload of a device's message."""
    kind = kind_of(number)
    if kind is Kind.COPY:
        return message(device, number - _COPY_OF if number % 2 else number - _COPY_OF - 1, tenants)
    tenant = tenants[device % len(tenants)]
    if kind is Kind.MALFORMED:
        return _malformed(device, number, tenant)
    fields: dict[str, object] = {"value": value_of(number)}
    named = number if (before := corrected_by(number)) is None else before
    if kind is not Kind.TIMED:
        fields["dedupe_id"] = f"{device}-{named}"
    if number % _CYCLE != 0:
        fields["timestamp"] = _BASE_US + named * _STEP_US
    return _topic(tenant, device), msgspec.json.encode(fields)


def _malformed(device: int, number: int, tenant: str) -> tuple[str, bytes]:
    mark = f"bad-{device}-{number}"
    topic, payload = _topic(tenant, device), msgspec.json.encode({"value": "warm", "dedupe_id": mark})
    match number // _CYCLE % 5:
        case 0:
            return topic, payload
        case 1:
            return topic, payload[:-1]
        case 2:
            return f"{topic}/extra", payload
        case 3:
            return _topic(_UNKNOWN_TENANT, device), msgspec.json.encode({"value": 1, "dedupe_id": mark})
        case _:
            return topic, msgspec.json.encode({"value": 1, "timestamp": "yesterday", "dedupe_id": mark})


def flood_payload(number: int) -> bytes:
    """Return one of the malformed messages of a flood."""
    return msgspec.json.encode({"value": "flood", "dedupe_id": f"bad-{FLOOD_DEVICE}-{number}"})


def flood_topic(tenant: str) -> str:
    """Return where a flood is published."""
    return _topic(tenant, FLOOD_DEVICE)


def _topic(tenant: str, device: int) -> str:
    return f"metrics/{tenant}/edge-{device}/load.percent"


def known_row(agent_id: str, timestamp: datetime, dedupe_id: str | None) -> Known | None:
    """Return the message of a row; None if no device sent it."""
    device = agent_id.removeprefix("edge-")
    if not device.isdigit():
        return None
    prefix, _, number = (dedupe_id or "").partition("-")
    if prefix == device and number.isdigit():
        return Known(int(device), int(number))
    steps, rest = divmod((timestamp.replace(tzinfo=UTC) - BASE) // timedelta(microseconds=1), _STEP_US)
    return None if rest or steps < 0 else Known(int(device), steps)


_MARK = re.compile(r"bad-(\d+)-(\d+)")


def known_rejection(payload: str) -> Known | None:
    """Return the message of a rejected payload by its mark; None if it has none."""
    found = _MARK.search(payload)
    return None if found is None else Known(int(found[1]), int(found[2]))
