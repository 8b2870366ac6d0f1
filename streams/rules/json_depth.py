"""Bounds how deep a payload nests, at the speed of C whatever it holds."""

from itertools import accumulate
from operator import add
from struct import unpack

MAX_DEPTH = 511
"""What the application's HTTP route takes: PHP's ``json_decode`` has a depth of 512 by default, of which what
stands in the innermost array or object is one, even where nothing does: PHP is asked
in ``tests/integration/test_php_formats.py``."""
SHORT = 2 * MAX_DEPTH
"""A text of so many characters cannot nest deeper."""

_ONLY_MARKS = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_OPENS = bytes.maketrans(b"[]{}", b"1010")
_BLOCK = 64
"""Brackets whose depths are found together."""


def is_too_deep(text: str) -> bool:
    """Tell whether arrays and objects nest deeper than is allowed.

    Args:
        text: JSON, or the beginning of some.
    """
    return has_many_brackets(text) and _deepest(_brackets_of(text)) > MAX_DEPTH


def has_many_brackets(text: str) -> bool:
    """Tell whether a text has more opening brackets than may nest, wherever they stand."""
    # To look for one takes a thirtieth of the time of counting, and most texts have but the one in front.
    has_further = "[" in text or "{" in text[1:]
    return has_further and text.count("[") + text.count("{") > MAX_DEPTH


def _brackets_of(text: str) -> bytes:
    """Return the brackets outside of strings, 1 for each that opens and 0 for each that closes."""
    if "\\" in text:
        text = text.replace(r"\\", "").replace(r"\"", "")
    marks = text.encode(errors="replace").translate(_OPENS, _ONLY_MARKS)
    # Between two quotes without a bracket nothing is left: either a string is gone, or two become one.
    return b"".join(marks.replace(b'""', b"").split(b'"')[::2])


def _deepest(brackets: bytes) -> int:
    """Return how deep the deepest bracket lies.

    A loop over 64 KiB would take five milliseconds. So the digits become the bits of one integer, and each
    operation on it works on all of its lanes: of a lane it is known how much the brackets in it lead down in
    all, and how far at most on the way. Lanes of two brackets become lanes of four, and so on.
    """
    padded = brackets + b"0" * (-len(brackets) % _BLOCK)
    size = len(padded) // 8
    octets = int(b"0" + padded, 2).to_bytes(size, "big")
    falls = int.from_bytes(octets.translate(_FALL_OF_8), "big")
    peaks = int.from_bytes(octets.translate(_PEAK_OF_8), "big")
    width = 8
    while width < _BLOCK:
        falls, peaks = _joined(falls, peaks, width, size)
        width *= 2
    falls_of_blocks = (fall - _BLOCK for fall in _lanes(falls, size))
    depths = accumulate(falls_of_blocks, initial=0)
    return max(map(add, depths, _lanes(peaks, size)), default=0)


def _joined(falls: int, peaks: int, width: int, size: int) -> tuple[int, int]:
    """Join each two lanes of so many bits, the first of which holds the higher ones.

    A fall has the width added to it, so that none is below 0.
    """
    one = int.from_bytes((b"\0" * (width // 4 - 1) + b"\1") * (size * 4 // width), "big")
    low = one * ((1 << width) - 1)
    first, second = (falls >> width) & low, falls & low
    # The peak is that of the first, or that of the second below where the first has led.
    peak, further = ((peaks >> width) & low) + one * width, first + (peaks & low)
    sign = one << (2 * width - 1)
    is_peak = ((peak | sign) - further) & sign
    chosen = is_peak - (is_peak >> (2 * width - 1))  # all bits below the sign, in lanes where it is set
    return first + second, (further ^ ((peak ^ further) & chosen)) - one * width


def _lanes(joined: int, size: int) -> tuple[int, ...]:
    return unpack(f">{size * 8 // _BLOCK}Q", joined.to_bytes(size, "big"))


def _peak(octet: int) -> int:
    steps = (1 if octet >> bit & 1 else -1 for bit in range(7, -1, -1))
    return max(accumulate(steps, initial=0))


_FALL_OF_8 = bytes(2 * octet.bit_count() for octet in range(256))
_PEAK_OF_8 = bytes(map(_peak, range(256)))
