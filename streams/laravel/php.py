r"""PHP's ``serialize`` and ``unserialize``, as far as the Laravel queue uses them.

    a:2:{i:0;O:3:"Job":2:{s:5:"value";d:42.17;s:4:"unit";s:3:"€";}s:2:"id";N;}

Lengths count bytes. A property that is not public has its class or a star before its name, between NULs:
``"\0*\0tries"`` (PHP manual, ``serialize``; ext/standard/var_unserializer.re). References (``r``, ``R``),
enumerations (``E``) and what a class writes in a form of its own (``C``) are refused.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from streams.errors import MalformedRecord
from streams.laravel.php_double import format_double

MAX_DEPTH = 64
"""How deep what is read may be nested."""


class PhpObject(NamedTuple):
    """An object: its class, and its properties by their bare names, whoever may see them."""

    class_name: str
    properties: "Mapping[str, PhpValue]"


PhpArray: TypeAlias = "Sequence[PhpValue] | Mapping[int | str, PhpValue]"
"""A sequence where the keys are 0, 1, 2 and so on, else a mapping."""
PhpValue: TypeAlias = "bool | int | float | str | PhpObject | PhpArray | None"

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_INTEGER_KEY = re.compile(r"0|-?[1-9][0-9]{0,18}")
_WORDS = {b"N;": None, b"b:0;": False, b"b:1;": True}
_NOT_FINITE = {b"INF": math.inf, b"-INF": -math.inf, b"NAN": math.nan}

_VALUE = re.compile(
    rb"""
    (?P<word> N; | b:[01]; )
    | i: (?P<integer> [+-]?[0-9]{1,19} ) ;
    | d: (?P<double> -?INF | NAN | [+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)? ) ;
    | s: (?P<string> [0-9]{1,10} ) :"
    | a: (?P<array> [0-9]{1,10} ) :\{
    | O: (?P<object> [0-9]{1,10} ) :"
    """,
    re.VERBOSE,
)
_PROPERTIES = re.compile(rb":([0-9]{1,10}):\{")
_VISIBILITY = re.compile(r"\A\0[^\0]+\0")


def serialize(value: PhpValue) -> str:
    """Return a value in PHP's form, the properties of objects as public ones.

    Raises:
        ValueError: if an integer has more than 64 bits.
    """
    if isinstance(value, str):
        size_bytes = len(value) if value.isascii() else len(value.encode())
        return f's:{size_bytes}:"{value}";'
    if value is None:
        return "N;"
    if isinstance(value, float):
        return f"d:{_double(value)};"
    if isinstance(value, int):
        # To Python a bool is an integer as well.
        return f"b:{value:d};" if isinstance(value, bool) else f"i:{_integer(value)};"
    if isinstance(value, PhpObject):
        name, properties = value
        return f"O:{_quoted(name)}:{len(properties)}:{{{serialize_members(properties.items())}}}"
    members = value.items() if isinstance(value, Mapping) else enumerate(value)
    return f"a:{len(value)}:{{{serialize_members((_key(key), item) for key, item in members)}}}"


def serialize_members(members: Iterable[tuple[int | str, PhpValue]]) -> str:
    """Return what stands between the braces of an array or object: keys and values in turn."""
    return "".join([serialize(key) + serialize(item) for key, item in members])


Shortcut: TypeAlias = "Callable[[bytes, int], tuple[Any, int] | None]"
"""Reads the value that begins at a position; returns it with where it ends, or None if it is no usual one."""


def unserialize(data: bytes, shortcuts: Mapping[int | str, Shortcut] = MappingProxyType({})) -> PhpValue:
    """Read a value in PHP's form.

    Args:
        data: serialized.
        shortcuts: by the key under which the value stands, quicker ways to read it.

    Raises:
        MalformedRecord: if the bytes are nothing of the kind, are nested deeper than `MAX_DEPTH`, or hold a
            string that is not UTF-8 or what this module refuses.
    """
    reader = _Reader(data, shortcuts)
    value = reader.read(MAX_DEPTH)
    if reader.position != len(data):
        raise reader.malformed("the end")
    return value


class _Reader:
    """Takes serialized data apart, from front to end."""

    def __init__(self, data: bytes, shortcuts: Mapping[int | str, Shortcut]) -> None:
        self.position = 0
        self._data = data
        self._shortcuts = shortcuts

    def read(self, depth: int) -> PhpValue:
        """Read the next value, which may be nested `depth` deep."""
        if depth == 0:
            raise self.malformed(f"no more than {MAX_DEPTH} levels")
        token = self._take(_VALUE, "a value (no reference, enumeration or class with a form of its own)")
        text = token[token.lastgroup or 0]
        match token.lastgroup:
            case "string":
                return self._read_text(int(text), b'";')
            case "double":
                return _NOT_FINITE[text] if text in _NOT_FINITE else float(text)
            case "integer":
                return self._within_64_bits(int(text))
            case "array":
                return _as_list(dict(self._read_members(int(text), depth)))
            case "object":
                return self._read_object(int(text), depth)
            case _:
                return _WORDS[text]

    def malformed(self, expected: str) -> MalformedRecord:
        """Return an exception that says what stands here instead of what was expected."""
        found = self._data[self.position : self.position + 20]
        return MalformedRecord(
            f"PHP-serialized data: expected {expected} at byte {self.position}, not {found!r}"
        )

    def _take(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        match = pattern.match(self._data, self.position)
        if match is None:
            raise self.malformed(expected)
        self.position = match.end()
        return match

    def _read_text(self, length: int, end: bytes) -> str:
        text = self._data[self.position : self.position + length]
        try:
            decoded = text.decode()
        except UnicodeDecodeError as error:
            raise self.malformed(f"{length} bytes of UTF-8") from error
        self.position += len(text)
        self._take_end(end)
        return decoded

    def _read_members(self, count: int, depth: int) -> Iterator[tuple[int | str, PhpValue]]:
        for _ in range(count):
            key = self.read(depth - 1)
            # PHP writes no other keys; a float or null has become one of these two before.
            if isinstance(key, bool) or not isinstance(key, int | str):
                raise self.malformed("before this an integer or a string as key")
            yield _key(key), self._read_under(key, depth - 1)
        self._take_end(b"}")

    def _read_under(self, key: int | str, depth: int) -> PhpValue:
        shortcut = self._shortcuts.get(key)
        found = None if shortcut is None else shortcut(self._data, self.position)
        if found is None:
            return self.read(depth)
        value: PhpValue
        value, self.position = found
        return value

    def _read_object(self, length: int, depth: int) -> PhpObject:
        name = self._read_text(length, b'"')
        count = self._take(_PROPERTIES, "the number of an object's properties")[1]
        return PhpObject(name, {_bare(key): item for key, item in self._read_members(int(count), depth)})

    def _take_end(self, end: bytes) -> None:
        if not self._data.startswith(end, self.position):
            raise self.malformed(repr(end))
        self.position += len(end)

    def _within_64_bits(self, number: int) -> int:
        if not _INT_MIN <= number <= _INT_MAX:
            raise self.malformed("before this an integer of 64 bits")
        return number


def _quoted(text: str) -> str:
    return f'{len(text.encode())}:"{text}"'


def _double(number: float) -> str:
    if math.isfinite(number):
        return format_double(number, "E")
    return "NAN" if math.isnan(number) else f"{'-' if number < 0 else ''}INF"


def _integer(number: int) -> int:
    if not _INT_MIN <= number <= _INT_MAX:
        raise ValueError(f"PHP has no integer {number}")
    return number


def _key(key: int | str) -> int | str:
    """Return an array's key as PHP keeps it: a string that is written like an integer is one."""
    if isinstance(key, str) and _INTEGER_KEY.fullmatch(key) and _INT_MIN <= int(key) <= _INT_MAX:
        return int(key)
    return key


def _as_list(array: dict[int | str, PhpValue]) -> PhpArray:
    return list(array.values()) if list(array) == list(range(len(array))) else array


def _bare(name: int | str) -> str:
    """Return a property's name without what tells who may see it."""
    return _VISIBILITY.sub("", str(name), count=1)
