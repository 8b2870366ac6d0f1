"""PHP's serialized form: any bytes, and values built from them."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import cast

from streams.errors import MalformedRecord
from streams.laravel.php import PhpObject, PhpValue, serialize, unserialize
from tests.fuzz.source import Source

INTEGERS = [0, 1, -1, 2**63 - 1, -(2**63)]
DOUBLES = [0.0, -0.0, 0.1, 1e17, 1e-7, 1.7976931348623157e308, 5e-324, math.inf, -math.inf, math.nan]
_VISIBILITY = re.compile(r"\A(\0[^\0]+\0)+")
SEEDS = [
    b'a:2:{i:0;O:3:"Job":2:{s:5:"value";d:42.17;s:4:"unit";s:3:"\xe2\x82\xac";}s:2:"id";N;}',
    b'O:1:"J":3:{s:1:"a";i:1;s:4:"\0*\0b";b:0;s:4:"\0J\0c";d:-1.5E+25;}',
    b'a:2:{s:1:"5";d:INF;s:2:"05";d:NAN;}',
    b"a:1:{i:0;" * 1_500 + b"N;" + b"}" * 1_500,
    b"a:9999999999:{i:-9223372036854775808;N;}",
    b"i:9223372036854775808;",
    b"i:" + b"9" * 5000 + b";",
    bytes(range(9)) * 4,
]
WORDS = [
    b"N;",
    b"b:1;",
    b"i:0;",
    b"d:.5;",
    b"d:-INF;",
    b"d:1E400;",
    b's:0:"";',
    b"a:0:{}",
    b'O:1:"A":0:{}',
    b"R:1;",
]


def fuzz(data: bytes) -> None:
    """Only what is malformed is refused; what is read or built comes back from being written."""
    try:
        read = unserialize(data)
    except MalformedRecord:
        pass
    else:
        _comes_back(read)
    _comes_back(_value(Source(data), depth=5))


def _comes_back(value: PhpValue) -> None:
    assert _plain(unserialize(serialize(value).encode())) == _plain(value)


def _value(source: Source, depth: int) -> PhpValue:
    kind = source.number() % (8 if depth else 6)
    if kind < 6:
        return _scalar(source, kind)
    members = [(_key(source), _value(source, depth - 1)) for _ in range(source.number() % 4)]
    if kind == 6:
        return PhpObject(source.text(), {str(key): item for key, item in members})
    return dict(members) if source.number() % 2 else [item for _, item in members]


def _scalar(source: Source, kind: int) -> PhpValue:
    scalars = [
        lambda: None,
        lambda: bool(source.number() % 2),
        lambda: source.pick(INTEGERS),
        lambda: source.number(8) - 2**63,
        lambda: source.pick(DOUBLES),
        source.text,
    ]
    return cast("PhpValue", scalars[kind]())


def _key(source: Source) -> int | str:
    return source.number(8) - 2**63 if source.number() % 2 else source.text()


def _plain(value: PhpValue) -> object:
    """Return what is the same to PHP: NaN, keys that are written like integers, names of any visibility."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, PhpObject):
        return value.class_name, {
            _VISIBILITY.sub("", name): _plain(item) for name, item in value.properties.items()
        }
    if isinstance(value, Mapping):
        pairs = [(_normal(key), _plain(item)) for key, item in value.items()]
        return [[key, item] for key, item in dict(pairs).items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [[key, _plain(item)] for key, item in enumerate(cast("Sequence[PhpValue]", value))]
    return value if isinstance(value, str | None) else repr(value)


def _normal(key: int | str) -> int | str:
    is_integer = isinstance(key, str) and key.lstrip("-").isdecimal() and key.isascii()
    return int(key) if is_integer and str(int(key)) == key and -(2**63) <= int(key) < 2**63 else key
