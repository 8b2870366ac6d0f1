"""What counts as a number in a string: what PHP's ``is_numeric`` says, since PHP code reads it in the end.

Surrounding white space, a sign, ``.5``, ``1.`` and exponents are allowed; hexadecimal, underscores, other
scripts' digits, NaN and infinities are not (PHP manual, "Numeric strings").
"""

import re

# Possessive throughout: no string, however long, makes the search go back and forth over it.
_NUMERIC = re.compile(
    r"""
    [\x20\t\n\r\v\f]*+
    (?P<number>
        [+-]? (?: [0-9]++ (?P<fraction> \.[0-9]*+ )? | (?P<bare_fraction> \.[0-9]++ ) )
        (?P<exponent> [eE] [+-]? [0-9]++ )?
    )
    [\x20\t\n\r\v\f]*+
    """,
    re.VERBOSE,
)


def read_numeric(text: str) -> str | None:
    """Return a numeric string without its white space; None where it is not numeric."""
    match = _NUMERIC.fullmatch(text)
    return None if match is None else match["number"]


def is_integral(numeric: str) -> bool:
    """Tell whether a numeric string is written as an integer: without a point or an exponent."""
    return numeric.lstrip("+-").isdigit()
