"""What a rule answers when it refuses, and how it shows a person what it refused."""

from typing import NamedTuple

from streams.models import Reason

SHOWN_CHARACTERS = 40


class Problem(NamedTuple):
    """Why a rule refuses a value; a step makes it a `streams.models.Rejection`."""

    reason: Reason
    detail: str
    """One line: what was found, and what would have been right."""


def shown(value: object) -> str:
    """Return a decoded JSON value on one short line of printable text.

    What an array or object holds is left out. No device can make the line long, break it or make it
    unencodable: ``repr`` escapes line breaks, control characters and lone surrogates.
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _shortened(repr(value[: SHOWN_CHARACTERS + 1]))
    if isinstance(value, int) and value.bit_length() > 4 * SHOWN_CHARACTERS:
        return "an integer of very many digits"  # and Python refuses to write out some
    return _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS + 2 else f"{text[:SHOWN_CHARACTERS]}…"
