r"""JSON as PHP's ``json_encode`` writes it, byte for byte.

    {"metric":"cpu\/0","value":1.0e-7,"unit":"\u00b0C"}

Slashes are escaped; characters beyond ASCII are, unless ``JSON_UNESCAPED_UNICODE`` is given, and even then
U+2028 and U+2029 are; the delete character is not (PHP manual, "JSON Functions"; ext/json/json_encoder.c).
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import msgspec

from streams.laravel.php_double import format_double

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_encoder = msgspec.json.Encoder()
_WORDS = {None: "null", True: "true", False: "false"}
_DELETE = "\x7f"


def encode(value: Json, *, unescaped_unicode: bool = False) -> str:
    """Return a value's JSON.

    Raises:
        ValueError: if a number is not finite; PHP refuses those, too.
    """
    if isinstance(value, str):
        return _encode_unescaped(value) if unescaped_unicode else _encode_escaped(value)
    # Before the integers: to Python a bool is one.
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format_double(value, "e")
    inner = partial(encode, unescaped_unicode=unescaped_unicode)
    if isinstance(value, Mapping):
        return f"{{{','.join([f'{inner(name)}:{inner(item)}' for name, item in value.items()])}}}"
    return f"[{','.join([inner(item) for item in value])}]"


def _encode_escaped(text: str) -> str:
    if _DELETE in text:  # the one character of ASCII that Python escapes and PHP does not
        return f'"{_DELETE.join(_encode_escaped(part)[1:-1] for part in text.split(_DELETE))}"'
    return json.dumps(text).replace("/", r"\/")


def _encode_unescaped(text: str) -> str:
    # Escapes what Python's json does, in a third of the time: a job's command is one long string.
    written = _encoder.encode(text).decode().replace("/", r"\/")
    return written if text.isascii() else written.replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
