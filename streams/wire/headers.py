"""The headers of the records on our topics: plain strings, to be read in a console.

format: 1    messages: 42                                          metrics.raw
format: 1    messages: 40    epoch: 1795442400123                  metrics.unique
format: 1    messages: 2     reason: tenant_unknown    stage: validate    metrics.rejected
"""

from collections.abc import Mapping

from streams.errors import MalformedRecord

FORMAT = b"1"
"""The version of the records; a reader that knows less must not guess."""

FORMAT_HEADER = "format"
MESSAGES = "messages"
REASON = "reason"
STAGE = "stage"
EPOCH = "epoch"
"""Which life of metrics.raw the chunk's coordinate belongs to."""

_EPOCH_DIGITS = 16  # as many as Lua's integers, which compare epochs


def headers(messages: int, **extra: str) -> list[tuple[str, bytes]]:
    """Return a record's headers.

    Args:
        messages: how many messages or readings the record carries.
        extra: `REASON` and `STAGE`, or `EPOCH`, by name.
    """
    return [
        (FORMAT_HEADER, FORMAT),
        (MESSAGES, b"%d" % messages),
        *((name, value.encode()) for name, value in extra.items()),
    ]


def read_epoch(found: Mapping[str, bytes]) -> int:
    """Return the epoch from a record's headers, 0 where there is none.

    Raises:
        MalformedRecord: if it is no number that an epoch can be.
    """
    epoch = found.get(EPOCH, b"0")
    if not epoch.isdigit() or len(epoch) > _EPOCH_DIGITS:
        raise MalformedRecord(f"the header {EPOCH} is {epoch[:40]!r}; it must be an integer")
    return int(epoch)
