"""What the doctor finds: one line about one thing. Pure."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Messages get through, but not as somebody may expect, or not for long."""
    BROKEN = "broken"
    """Messages do not get through, or a guarantee does not hold."""


class Finding(msgspec.Struct, frozen=True):
    """What was seen of one thing."""

    state: Severity
    part: str
    seen: str
    mend: str = ""
    """What to do; empty where all is well."""


def ok(part: str, seen: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(Severity.OK, part, seen)


def warning(part: str, seen: str, mend: str) -> Finding:
    """Return that something is not as it should be, while messages get through."""
    return Finding(Severity.WARNING, part, seen, mend)


def broken(part: str, seen: str, mend: str) -> Finding:
    """Return that something is broken."""
    return Finding(Severity.BROKEN, part, seen, mend)


def is_well(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing is broken."""
    return all(finding.state is not Severity.BROKEN for finding in findings)
