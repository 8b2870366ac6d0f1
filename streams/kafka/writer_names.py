"""Names for those that write records: each unlike any other, so that a record tells whose successor it is."""

import secrets
from collections.abc import Iterator
from itertools import count

from streams.wire.headers import SEQ, WRITER

NAME_BYTES = 8


def new_writer() -> str:
    """Return a name that no other process, and no other connection, ever has."""
    return secrets.token_hex(NAME_BYTES)


class WrittenRecords:
    """Numbers the records that one process puts into the partitions of a topic."""

    def __init__(self) -> None:
        self._writers: dict[int, tuple[str, Iterator[int]]] = {}

    def next(self, partition: int) -> dict[str, str]:
        """Return the headers by which a record is the successor of this writer's last one there."""
        if partition not in self._writers:
            self._writers[partition] = new_writer(), count()
        writer, numbers = self._writers[partition]
        return {WRITER: writer, SEQ: str(next(numbers))}

    def interrupted(self, partition: int) -> None:
        """Note that a record may not have landed: what follows begins anew, under another name."""
        self._writers.pop(partition, None)
