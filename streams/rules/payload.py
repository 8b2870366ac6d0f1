"""The payload: an object ``{"value", "timestamp"?, "dedupe_id"?}``; any further members are ignored.

Two decoders that give the same: msgspec for the messages that nearly all devices send, and for the rest
`streams.rules.json_scanner`, which also finds the words for what is wrong. It bounds how deep a payload
nests, so that neither decoder's own limit, which depends on the version of Python, decides anything.
"""

import msgspec

from streams.models import MEMBERS, Message, Payload, Reason
from streams.rules.json_depth import SHORT
from streams.rules.json_scanner import read_object
from streams.rules.problem import Problem

MAX_BYTES = 64 * 1024


_decoder = msgspec.json.Decoder(Payload)


def read_payload(message: Message) -> Payload | Problem:
    """Decode a message's payload."""
    if message.size_bytes is not None:
        found = f"the payload has {message.size_bytes} bytes; at most {MAX_BYTES} are allowed"
        return Problem(Reason.PAYLOAD_TOO_LARGE, found)
    text = message.payload if message.payload is not None else _decode(message)
    if isinstance(text, Problem):
        return text
    if len(text) > SHORT:
        return _read_slowly(text)  # which bounds its depth, and makes nothing of what does not matter
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return _read_slowly(text)


def _read_slowly(text: str) -> Payload | Problem:
    members = read_object(text)
    if isinstance(members, Problem):
        return members
    return Payload(**{name: members[name] for name in MEMBERS if name in members})


def _decode(message: Message) -> str | Problem:
    try:
        return message.payload_bytes().decode()
    except UnicodeDecodeError as error:
        found = (
            f"not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start + 1} of the payload"
        )
        return Problem(Reason.PAYLOAD_NOT_JSON, found)
    except ValueError as error:  # no base64, or not even ASCII
        return Problem(Reason.PAYLOAD_NOT_JSON, f"payload_base64 cannot be read: {error}")
