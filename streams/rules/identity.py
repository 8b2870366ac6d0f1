"""What identifies a reading: its key, the id that dedupe remembers, and its content.

All are BLAKE2b digests of netstrings (``5:edge-3:cpu``: the length tells where a field ends, whatever it
holds), each kind with a personalisation of its own, so that no kind can be taken for another.
"""

from hashlib import blake2b

from streams.models import Origin

ID_BYTES = 16
CONTENT_BYTES = 8

_BY_DEDUPE_ID = b"ms dedupe id"
_BY_READING = b"ms reading"
_BY_COORDINATE = b"ms coordinate"
_CONTENT = b"ms content"


def row_id(tenant_id: str, dedupe_id: str) -> bytes:
    """Return the 16 bytes that stand for the row which a dedupe id names; a derived id names one as well."""
    return _digest(_BY_DEDUPE_ID, ID_BYTES, tenant_id, dedupe_id)


def derived_key(tenant_id: str, agent_id: str, metric_name: str, value: float, time_us: int) -> str:
    """Return the key of a reading without dedupe id whose device said when it was taken."""
    return _digest(
        _BY_READING, ID_BYTES, tenant_id, agent_id, metric_name, repr(float(value)), str(time_us)
    ).hex()


def coordinate_key(
    origin: Origin,
    index: int,
    *,
    tenant_id: str,
    agent_id: str,
    metric_name: str,
    value: float,
    received_at: str,
) -> str:
    """Return the key of a reading that only its place in metrics.raw tells from others.

    The rest is hashed along with it, so that a topic that was recreated, and begins again at offset 0, does
    not name the rows of old readings.
    """
    place = f"{origin.partition}-{origin.offset}-{index}"
    return _digest(
        _BY_COORDINATE, ID_BYTES, place, tenant_id, agent_id, metric_name, repr(float(value)), received_at
    ).hex()


def content(agent_id: str, metric_name: str, value: float, time_us: int | None) -> bytes:
    """Return 8 bytes that stand for what the device sent: 1, 1.0 and "1.0" are the same, as in the row.

    Args:
        agent_id: the device.
        metric_name: the metric.
        value: the value.
        time_us: the device's own timestamp; None where it sent none, so that sending the same message again
            is sending the same content.
    """
    time = "" if time_us is None else str(time_us)
    return _digest(_CONTENT, CONTENT_BYTES, agent_id, metric_name, repr(float(value)), time)


def _digest(kind: bytes, size: int, *fields: str) -> bytes:
    netstrings = "".join([f"{len(field)}:{field}" for field in fields])
    return blake2b(netstrings.encode(), digest_size=size, person=kind).digest()
