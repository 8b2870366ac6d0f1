"""What a hostile tenant publishes in `hostile`: kinds of messages that are made to cost. Pure.

None of it is refused by the broker: what Mosquitto itself refuses costs the pipeline nothing.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.material import Mix
from benchmarks.packets import BLOCK, Block, publish
from streams.rules.payload import MAX_BYTES

NUMBER = "#number#"
"""Stands for a number of as many digits, which differs from block to block."""
_DIGITS = len(NUMBER)
_IDS = 255  # as in `benchmarks/packets.py`
_TOPIC = "metrics/{}/hostile-{:03d}/cpu"
_LONGEST_TOPIC = 60_000
_OVERSIZE_BYTES = 4 * MAX_BYTES - 1_024
"""The largest packet that docker/secure/mosquitto.conf lets through, but for the topic."""
Publications = Iterator[tuple[str, bytes]]
"""Topic and payload of each message of a block."""


class Packets:
    """As `benchmarks.packets.Block`, but of any publications, whatever their sizes.

    Args:
        publications: `BLOCK` of them.
    """

    def __init__(self, publications: Publications) -> None:
        self._bytes = bytearray()
        self._begins, self._ids, self._numbers = [0], [], []
        for topic, payload in publications:
            self._append(topic, payload)
        self._view = memoryview(self._bytes)
        self._numbered = -1

    def stamped(self, number: int, count: int, unix_us: int) -> memoryview:  # noqa: ARG002 - as of `Block`
        """Return the packets of the next publications; see `Block.stamped`."""
        block, first = divmod(number, BLOCK)
        if block != self._numbered:
            self._numbered = block
            self._write(block)
        return self._view[self._begins[first] : self._begins[first + count]]

    def rows(self, number: int, count: int) -> int:  # noqa: ARG002 - as of `Block`
        """Return how many rows must come of them: nobody counts those of a hostile tenant."""
        return 0

    def _append(self, topic: str, payload: bytes) -> None:
        begin = len(self._bytes)
        packet = publish(topic, payload, len(self._ids))
        self._bytes += packet
        self._begins.append(len(self._bytes))
        self._ids.append(len(self._bytes) - len(payload) - 2)
        if (at := packet.find(NUMBER.encode())) >= 0:
            self._numbers.append(begin + at)

    def _write(self, block: int) -> None:
        text, high = f"{block:0{_DIGITS}d}".encode(), block % _IDS + 1
        for at in self._ids:
            self._bytes[at] = high
        for at in self._numbers:
            self._bytes[at : at + _DIGITS] = text


def packets_of(kind: str, tenant: str, connection: int, run: str) -> Block | Packets:
    """Return what one connection sends again and again.

    Args:
        kind: one of `KINDS`.
        tenant: in whose name.
        connection: its number.
        run: keeps the ids of two runs apart.
    """
    if kind in _SMALL:
        return Block(Mix([tenant], malformed=_SMALL[kind]), connection, run)
    return Packets(_PUBLICATIONS[kind](tenant, connection))


# --- The kinds --------------------------------------------------------------------------------------------

_SMALL = {"malformed": 1.0, "valid": 0.0}
"""Share of messages whose value is no number, of those kinds that are as small as a device's."""

ARRAYS = (
    "[" * MAX_BYTES,
    '{"value":1,"x":' + "[" * (MAX_BYTES - 15),
    '{"value":1,"x":[' + "[]," * ((MAX_BYTES - 20) // 3) + "1]}",
    '{"value":1,"x":[' + ("[" * 500 + "]" * 500 + ",") * 65 + "1]}",
    "{" + '"a":1,' * ((MAX_BYTES - 20) // 6) + '"value":1}',
)
NUMBERS = (
    '{"x":[' + "1e999," * ((MAX_BYTES - 30) // 6) + '1],"value":1e999}',
    '{"value":' + "9" * (MAX_BYTES - 10) + "}",
    '{"value":0.' + "1" * (MAX_BYTES - 12) + "}",
    '{"value":1,"timestamp":' + "9" * (MAX_BYTES - 24) + "}",
)
STRINGS = (
    '{"value":1e999,"x":[' + '["]"],' * ((MAX_BYTES - 24) // 6) + "1]}",
    '{"value":1,"timestamp":"' + r"\n[[[" * ((MAX_BYTES - 26) // 5) + '"}',
    '{"value":1,"dedupe_id":"' + r"\ud800" * ((MAX_BYTES - 26) // 6) + '"}',
    '{"value":1,"x":"' + "x" * (MAX_BYTES - 18) + '"}',
)


def _payloads(payloads: Sequence[str], tenant: str, _connection: int) -> Publications:
    for place in range(BLOCK):
        yield _TOPIC.format(tenant, place), payloads[place % len(payloads)].encode()


def _noise(tenant: str, connection: int) -> Publications:
    """What no compression makes smaller: bytes that are no text, and text that is valid."""
    chance = random.Random(connection)  # noqa: S311 - not for secrets
    for place in range(BLOCK):
        text = chance.randbytes((MAX_BYTES - 20) // 2).hex()
        payload = f'{{"value":1,"x":"{text}"}}'.encode() if place % 2 else chance.randbytes(MAX_BYTES)
        yield _TOPIC.format(tenant, place), payload


def _oversize(tenant: str, _connection: int) -> Publications:
    for place in range(BLOCK):
        yield _TOPIC.format(tenant, place), b"x" * (_OVERSIZE_BYTES if place % 2 else MAX_BYTES + 1)


def _topics(tenant: str, connection: int) -> Publications:
    """Topics that no rule lets through, and none of them a second time."""
    own = f"{connection}-{NUMBER}-"
    ends = (
        *("/cpu/x", "", "//cpu", "/cpu\u202e", "/" + "é" * 65, "/" * 150),
        *("/" + "x" * _LONGEST_TOPIC, "x" * 500 + "/cpu"),
    )
    for place in range(BLOCK):
        yield f"metrics/{tenant}/{own}{place}{ends[place % len(ends)]}", b'{"value":1}'


def _strangers(_tenant: str, connection: int) -> Publications:
    """Tenants that do not exist, each of them once: PostgreSQL is asked for all of them."""
    for place in range(BLOCK):
        yield f"metrics/{NUMBER}-{place:04d}-4000-8000-{connection:012d}/edge/cpu", b'{"value":1}'


_PUBLICATIONS: dict[str, Callable[[str, int], Publications]] = {
    "arrays": partial(_payloads, ARRAYS),
    "numbers": partial(_payloads, NUMBERS),
    "strings": partial(_payloads, STRINGS),
    "noise": _noise,
    "oversize": _oversize,
    "topics": _topics,
    "strangers": _strangers,
}
KINDS = (*_PUBLICATIONS, *_SMALL)
"""What can be published."""
