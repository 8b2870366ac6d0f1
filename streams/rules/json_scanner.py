"""Reads the members of one JSON object by RFC 8259 to the letter, whatever they hold.

The slow path behind `streams.rules.payload`, for what a fast decoder refuses without need: lone surrogates,
numbers beyond all doubles. What arrays and objects below the top hold is checked, but not kept.

A short text is taken apart here, token by token, and the words for what is wrong are found. A token takes
2 µs, so of a longer text msgspec checks the whole, in C and without making anything of it.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from functools import cache

import msgspec

from streams.models import MEMBERS, Reason
from streams.rules.json_depth import MAX_DEPTH, is_too_deep
from streams.rules.problem import Problem, shown

_SPACE = re.compile(r"[ \t\n\r]*")
# No text makes the search go back and forth: each alternative is known by its first character.
_TOKEN = re.compile(
    r"""
    (?P<mark> [\[\]{},:] )
    | (?P<string> " (?: [^"\\\x00-\x1f]++ | \\ (?: ["\\/bfnrt] | u[0-9a-fA-F]{4} ) )* " )
    | (?P<number> -? (?: 0 | [1-9][0-9]*+ ) (?: \. [0-9]++ )? (?: [eE] [+-]? [0-9]++ )? )
    | (?P<word> true | false | null )
    """,
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_CLOSERS = {"[": "]", "{": "}"}
_MOST_DIGITS = 400
"""More than any double has; and Python refuses to read integers of very many digits."""
_BYTE_ORDER_MARK = "\ufeff"


LONGEST_IN_TOKENS = 256
"""Characters of a text that is read token by token."""
_MISTAKE = "\0"
"""Is in no JSON."""
_ESCAPE = len(r"\uffff")
"""A mistake in an escape is noticed so far behind its beginning at most."""
_BYTE = re.compile(r"\(byte ([0-9]+)\)")


class _Expect(Enum):
    """What may come next."""

    VALUE = auto()
    VALUE_OR_CLOSE = auto()
    NAME = auto()
    NAME_OR_CLOSE = auto()
    COLON = auto()
    COMMA_OR_CLOSE = auto()
    END = auto()


_MAY_CLOSE = frozenset({_Expect.VALUE_OR_CLOSE, _Expect.NAME_OR_CLOSE, _Expect.COMMA_OR_CLOSE})


def read_object(text: str, names: Iterable[str] = MEMBERS) -> Mapping[str, object] | Problem:
    """Return some members of a JSON object, or all; of several with one name the last.

    A member that is an array or object comes as an empty one. A number beyond all doubles comes as an
    infinity, which JSON itself cannot hold.

    Args:
        text: one that is longer than `LONGEST_IN_TOKENS` is refused if it nests deeper than allowed.
        names: of the members that must be among what is returned, if they are in the object.
    """
    return _read_tokens(text) if len(text) <= LONGEST_IN_TOKENS else _read_at_once(text, tuple(names))


def _read_at_once(text: str, names: tuple[str, ...]) -> Mapping[str, object] | Problem:
    # The escape of a surrogate becomes another one, as long: msgspec refuses one without its other half.
    whole = text.replace(r"\ud", r"\u0").replace(r"\uD", r"\u0") if r"\u" in text else text
    try:
        found = _members_of(whole, names)
    except RecursionError:  # in C there is room for more than MAX_DEPTH with every version of Python
        return _too_deep()
    except (msgspec.MsgspecError, UnicodeError) as error:
        return _words(text, str(error))
    if is_too_deep(text):
        return _too_deep()
    if found is None:
        return _not_an_object()
    members = {name: _original(text, whole, bytes(raw).decode()) for name, raw in found.items() if raw}
    if None in members.values():
        return _not_json("a string is there twice, and one of its surrogates is only half of a pair")
    return {name: _read_value(_kind(raw), raw) for name, raw in members.items() if raw is not None}


def _members_of(whole: str, names: tuple[str, ...]) -> dict[str, msgspec.Raw] | None:
    """Return the members as they are written; None where the text is JSON, but no object."""
    try:
        return msgspec.structs.asdict(msgspec.json.decode(whole, type=_picked(names)))
    except msgspec.ValidationError:
        msgspec.json.decode(whole, type=msgspec.Raw)
        return None


@cache
def _picked(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return a type for which msgspec checks these members, and skips all others."""
    return msgspec.defstruct("Picked", [(name, msgspec.Raw, msgspec.Raw(b"")) for name in names], gc=False)


def _original(text: str, whole: str, raw: str) -> str | None:
    """Return what stands in the text where a member stands in its copy; None where that is not certain."""
    if text == whole or r"\u0" not in raw:
        return raw
    begin = whole.find(raw)
    return text[begin : begin + len(raw)] if whole.find(raw, begin + 1) < 0 else None


def _kind(raw: str) -> str:
    if raw[0] in "[{":
        return "mark"
    return "string" if raw[0] == '"' else "word" if raw in _WORDS else "number"


def _words(text: str, error: str) -> Problem:
    """Say in the words of the reader by tokens what msgspec has found."""
    place = _BYTE.search(error)
    if place is None:
        return _too_deep() if is_too_deep(text) else _ends_too_early(text)
    position = len(text.encode()[: int(place[1])].decode(errors="ignore"))
    if position < LONGEST_IN_TOKENS + _ESCAPE:
        beginning = text[: position + 1]
        found = _read_tokens(beginning + _MISTAKE)
        if isinstance(found, Problem) and found != _not_json(_unexpected(_MISTAKE, len(beginning))):
            return found
    # What comes before the mistake was read, and msgspec may not have gone as deep with another Python.
    if is_too_deep(text[:position]):
        return _too_deep()
    return _not_json(_unexpected(text[position : position + 1], position))


def _read_tokens(text: str) -> dict[str, object] | Problem:
    reader = _Scanner()
    position = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches anything
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or not reader.take(str(match.lastgroup), match[0]):
            return _not_json(_unexpected(text[position], position))
        position = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]  # the same
    if reader.expect is not _Expect.END:
        return _ends_too_early(text)
    if reader.kind_of_top != "{":
        return _not_an_object()
    return reader.members


class _Scanner:
    """Checks that tokens come in an order that JSON allows, and keeps the members of the top."""

    def __init__(self) -> None:
        self.members: dict[str, object] = {}
        self.expect = _Expect.VALUE
        self.kind_of_top = ""
        self._closers: list[str] = []
        self._name = ""

    def take(self, kind: str, text: str) -> bool:
        """Take the next token; return whether it may stand here."""
        if self._closers and text == self._closers[-1] and self.expect in _MAY_CLOSE:
            self._closers.pop()
            self._end_value()
            return True
        match self.expect:
            case _Expect.VALUE | _Expect.VALUE_OR_CLOSE:
                return self._take_value(kind, text)
            case _Expect.NAME | _Expect.NAME_OR_CLOSE:
                return self._take_name(kind, text)
            case _Expect.COLON:
                self.expect = _Expect.VALUE
                return text == ":"
            case _Expect.COMMA_OR_CLOSE:
                self.expect = _Expect.NAME if self._closers[-1] == "}" else _Expect.VALUE
                return text == ","
            case _Expect.END:
                return False

    def _take_value(self, kind: str, text: str) -> bool:
        if kind == "mark" and text not in _CLOSERS:
            return False
        self.kind_of_top = self.kind_of_top or text[0]
        if self._is_at_top():
            self.members[self._name] = _read_value(kind, text)
        if kind == "mark":
            self._closers.append(_CLOSERS[text])
            self.expect = _Expect.NAME_OR_CLOSE if text == "{" else _Expect.VALUE_OR_CLOSE
        else:
            self._end_value()
        return True

    def _take_name(self, kind: str, text: str) -> bool:
        if kind != "string":
            return False
        if self._is_at_top():
            self._name = json.loads(text)
        self.expect = _Expect.COLON
        return True

    def _end_value(self) -> None:
        self.expect = _Expect.COMMA_OR_CLOSE if self._closers else _Expect.END

    def _is_at_top(self) -> bool:
        """Tell whether what comes stands in the outermost object."""
        return self._closers == ["}"]


def _read_value(kind: str, text: str) -> object:
    if kind == "mark":
        return {} if text[0] == "{" else []
    if kind == "word":
        return _WORDS[text]
    return _read_string(text) if kind == "string" else _read_number(text)


def _read_string(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=str)  # takes a fifth of the time where there are many escapes
    except (msgspec.MsgspecError, UnicodeError):  # half of a pair is alone
        return str(json.loads(text))


def _read_number(text: str) -> int | float:
    if not text.removeprefix("-").isdigit():
        return float(text)
    if len(text) > _MOST_DIGITS:
        return -math.inf if text[0] == "-" else math.inf
    return int(text)


def _unexpected(character: str, position: int) -> str:
    if character == _BYTE_ORDER_MARK and position == 0:
        return "the payload begins with a byte order mark, which JSON does not allow"
    return f"unexpected {shown(character)} at character {position + 1} of the payload"


def _ends_too_early(text: str) -> Problem:
    return _not_json("the payload ends too early" if text.strip() else "the payload is empty")


def _too_deep() -> Problem:
    return _not_json(f"its arrays and objects nest more than {MAX_DEPTH} deep, as PHP reads none")


def _not_an_object() -> Problem:
    return Problem(Reason.PAYLOAD_NOT_OBJECT, 'the payload is JSON, but no object such as {"value": 42.17}')


def _not_json(found: str) -> Problem:
    return Problem(Reason.PAYLOAD_NOT_JSON, f"not JSON: {found}")
