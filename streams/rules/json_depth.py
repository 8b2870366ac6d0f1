"""Bounds how deep a payload nests, at the speed of C whatever it holds."""

MAX_DEPTH = 512
"""What PHP's ``json_decode`` takes, and so the application's HTTP route."""
SHORT = 2 * MAX_DEPTH
"""A text of so many characters cannot nest deeper."""

_BLOCK = 64
_ONLY_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def is_too_deep(text: str) -> bool:
    """Tell whether arrays and objects nest deeper than is allowed.

    Only every 64th bracket is looked at, so what nests a little deeper, and not for long, may pass. The same
    text always gets the same answer.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    brackets = _outside_of_strings(text).encode(errors="replace").translate(_ONE_KIND, _ONLY_BRACKETS)
    depth = 0
    for begin in range(0, len(brackets), _BLOCK):
        block = brackets[begin : begin + _BLOCK]
        depth += 2 * block.count(b"[") - len(block)
        if depth > MAX_DEPTH:
            return True
    return False


def _outside_of_strings(text: str) -> str:
    unescaped = text.replace(r"\\", "").replace(r"\"", "").replace('""', "")
    return "".join(unescaped.split('"')[::2])
