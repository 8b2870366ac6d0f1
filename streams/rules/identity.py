"""What identifies a reading: its key, the id that dedupe remembers, and its content.

Keys, and the half of an id that stands for the tenant, are BLAKE2b digests: nobody can find a message that
has the id of another tenant's. The other half and the content only tell apart what one tenant sends, so XXH3
will do, which takes a tenth of the time. A duplicate has both in common, which are 128 bits; with a mere id
in common a reading would be taken for a correction, and go on.
"""

from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct

from xxhash import xxh3_64_digest

from streams.models import Origin
from streams.rules.topic import Series

KEY_BYTES = 16
CONTENT_BYTES = 8

# In front of what is hashed, so that no kind of key can be taken for another.
_BY_READING, _BY_COORDINATE = b"r", b"c"

_double = Struct(">d").pack
"""The value, so that 1, 1.0 and "1.0" are the same, as in the row."""
_coordinate = Struct(">qqq").pack


def row_id(series: Series, dedupe_id: str) -> bytes:
    """Return the 16 bytes that stand for the row which a dedupe id names; a derived id names one as well.

    Args:
        series: of the tenant.
        dedupe_id: the device's, or a key.
    """
    return series.tenant_tag + xxh3_64_digest(dedupe_id.encode())


def derived_key(series: Series, value: float, time: str) -> str:
    """Return the key of a reading without dedupe id whose device said when it was taken."""
    return _key(_BY_READING, series, value, time)


def coordinate_key(origin: Origin, index: int, series: Series, value: float, received: str) -> str:
    """Return the key of a reading that only its place in metrics.raw tells from others.

    The rest is hashed along with it, so that a topic that was recreated, and begins again at offset 0, does
    not name the rows of old readings.
    """
    place = _coordinate(origin.partition, origin.offset, index)
    return _key(_BY_COORDINATE + place, series, value, received)


def content(series: Series, value: float, time: str, further: Iterable[tuple[str, str | None]] = ()) -> bytes:
    """Return 8 bytes that stand for what the device sent: agent, metric, value, time and further fields.

    Args:
        series: the agent and the metric.
        value: the value.
        time: the device's own timestamp; empty where it sent none, so that sending the same message again
            is sending the same content.
        further: the names and texts of `streams.models.FURTHER`.
    """
    said = _double(value) + time.encode() + series.names
    if further:
        # Neither a metric's name nor a text holds a NUL.
        said += "".join([f"\0{name}\0{text}" for name, text in further if text is not None]).encode()
    return xxh3_64_digest(said)


def _key(kind: bytes, series: Series, value: float, time: str) -> str:
    hashed = b"".join((kind, series.tenant_id.encode(), _double(value), time.encode(), series.names))
    return blake2b(hashed, digest_size=KEY_BYTES).hexdigest()
