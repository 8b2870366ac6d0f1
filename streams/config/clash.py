"""Settings that do not go together."""

from typing import NamedTuple


class Clash(NamedTuple):
    """What some settings have between them."""

    names: set[str]
    """In lower case."""
    line: str
    """What is wrong, with its mend."""
