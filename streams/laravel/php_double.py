"""Doubles as PHP writes them with ``serialize_precision = -1``, its default since 7.1.

The shortest digits that give the same double, as in Python's ``repr``, but without a zero fraction and with
another exponent: ``42.17``, ``1``, ``1.0e-7``, ``1.5e+25`` (``smart_str_append_double`` and ``php_gcvt``; PHP
changes to the exponent at 10⁻⁵ and 10¹⁷, Python at 10⁻⁵ and 10¹⁶).
"""

import math
from decimal import Decimal

_EXPONENT_FROM = 17
"""The power of ten from which PHP writes an exponent."""


def format_double(number: float, exponent: str) -> str:
    """Return a double's text.

    Args:
        number: what to write.
        exponent: its letter: ``E`` in serialized data, ``e`` in JSON.

    Raises:
        ValueError: if the number is not finite: the formats differ in what they make of that.
    """
    written = repr(number)
    if "e" not in written and "n" not in written:  # nearly all: 0.3 µs instead of 0.6
        return written.removesuffix(".0")
    if not math.isfinite(number):
        raise ValueError(f"{number} has no digits")
    digits, _, power = written.partition("e")
    # Python has an exponent from 10**16 on, PHP from 10**17.
    if 0 < int(power) < _EXPONENT_FROM:
        return f"{Decimal(written):f}"
    mantissa = digits if "." in digits else f"{digits}.0"
    return f"{mantissa}{exponent}{int(power):+d}"
