"""Says in plain words what a setting takes, where pydantic would show a regular expression. Pure."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from streams.config.urls import shown_url

MOST_SHOWN = 60
KUBERNETES = "; Kubernetes sets it for a Service of that name: set enableServiceLinks: false for the pod"


def refusal(name: str, field: FieldInfo, value: object, patterns: Mapping[str, str], *, secret: bool) -> str:
    """Say that a setting does not take a value, and which ones it does.

    Args:
        name: the setting's, in lower case.
        field: what it takes.
        value: what it was given.
        patterns: each regular expression of the settings, in words.
        secret: the value must not be shown.
    """
    key = name.upper()
    shown = "(secret)" if secret else shown_value(value)
    hint = KUBERNETES if key.endswith("_PORT") and str(value).startswith("tcp://") else ""
    return f"{key}={shown}: must be {_takes(field, patterns)}{hint}"


def shown_value(value: object) -> str:
    """Return a value as it may be shown: on one line, of a bounded length, and of a URL no secrets."""
    text = str(value)
    if "@" in text or "://" in text:
        text = shown_url(text)
    text = text if text.isprintable() and text.strip() == text else repr(text)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def number_shown(value: float) -> str:
    """Return a number without a needless point or exponent."""
    return str(int(value)) if float(value).is_integer() else str(value)


def _takes(field: FieldInfo, patterns: Mapping[str, str]) -> str:
    if get_origin(field.annotation) is Literal:
        return " or ".join(map(str, get_args(field.annotation)))
    if field.annotation is bool:
        return "true or false"
    bounds = _bounds(field)
    if field.annotation is int:
        least = bounds.get("ge", bounds.get("gt", 0) + 1)
        return f"a whole number from {least} to {bounds['le']}"
    if field.annotation is float:
        least = (
            f"from {number_shown(bounds['ge'])}" if "ge" in bounds else f"above {number_shown(bounds['gt'])}"
        )
        return f"a number {least} to {number_shown(bounds['le'])}"
    words = patterns.get(str(bounds.get("pattern")), "text")
    most = bounds.get("max_length")
    return f"{words}, {bounds.get('min_length', 1)} to {most} characters" if most else f"{words}, not empty"


def _bounds(field: FieldInfo) -> dict[str, Any]:
    names = ("gt", "ge", "lt", "le", "min_length", "max_length", "pattern")
    found = ((name, getattr(item, name, None)) for item in field.metadata for name in names)
    return {name: value for name, value in found if value is not None}
