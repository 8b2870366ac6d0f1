"""Reads the members of one JSON object by RFC 8259 to the letter, whatever they hold.

The slow path behind `streams.rules.payload`, for what a fast decoder refuses without need: nesting of any
depth, lone surrogates, numbers beyond all doubles. No recursion, so that the answer depends on nothing but
the text; what arrays and objects below the top hold is checked, but not kept.
"""

import json
import math
import re
from enum import Enum, auto

from streams.models import Reason
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


def read_object(text: str) -> dict[str, object] | Problem:
    """Return the members of a JSON object; of several with one name the last.

    A member that is an array or object comes as an empty one. A number beyond all doubles comes as an
    infinity, which JSON itself cannot hold.
    """
    reader = _Reader()
    position = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches anything
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or not reader.take(str(match.lastgroup), match[0]):
            return _not_json(_unexpected(text[position], position))
        position = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]  # the same
    if reader.expect is not _Expect.END:
        return _not_json("the payload is empty" if not text.strip() else "the payload ends too early")
    if reader.kind_of_top != "{":
        return Problem(
            Reason.PAYLOAD_NOT_OBJECT, 'the payload is JSON, but no object such as {"value": 42.17}'
        )
    return reader.members


class _Reader:
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
        return {} if text == "{" else []
    if kind == "word":
        return _WORDS[text]
    return json.loads(text) if kind == "string" else _read_number(text)


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


def _not_json(found: str) -> Problem:
    return Problem(Reason.PAYLOAD_NOT_JSON, f"not JSON: {found}")
