"""The headers of the records on our topics: plain strings, to be read in a console.

format: 1    messages: 42                                          metrics.raw
format: 1    messages: 40    epoch: 1795442400123                  metrics.unique
format: 1    messages: 2     reason: tenant_unknown    stage: validate    metrics.rejected
"""

FORMAT = b"1"
"""The version of the records; a reader that knows less must not guess."""

FORMAT_HEADER = "format"
MESSAGES = "messages"
REASON = "reason"
STAGE = "stage"
EPOCH = "epoch"
"""Which life of metrics.raw the chunk's coordinate belongs to."""


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
