"""The records of metrics.devices: when the devices of one bucket were heard last.

Written by the worker that holds the partition, read by it when it takes the partition, and by the command
``devices``. Key: the bucket, ``b"17"``, within its partition. Value, all on one line:

    [["7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7",1795442400.1,1841,3]]

of tenant and agent as devices name them, Unix time of the last message's arrival in seconds, messages, and
how many of them were rejected. The topic is compacted: the latest record of a bucket says all.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from streams.errors import MalformedRecord
from streams.models import Natural

Time = Annotated[float, msgspec.Meta(ge=0, le=2**40)]


class DeviceSeen(msgspec.Struct, array_like=True, gc=False):
    """One device."""

    name: str
    """Tenant and agent, with a slash between them."""
    last: Time = 0.0
    """Unix time in seconds."""
    messages: Natural = 0
    rejected: Natural = 0

    @property
    def tenant_id(self) -> str:
        """As its topic names it, in lower case."""
        return self.name.partition("/")[0].lower()

    @property
    def agent_id(self) -> str:
        """As its topic names it."""
        return self.name.partition("/")[2]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[DeviceSeen])


def encode(devices: Sequence[DeviceSeen]) -> bytes:
    """Return a record's value."""
    return _encoder.encode(devices)


def decode(value: bytes) -> list[DeviceSeen]:
    """Read a record's value.

    Raises:
        MalformedRecord: if it is none of ours.
    """
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a list of devices: {error}") from error
