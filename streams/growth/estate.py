"""What a partition's changelog holds, as those inherit it to which its tenants move. Pure.

Between the changelog and the copy. What was evicted or dropped has left its tombstone and is not inherited.
"""

from collections.abc import Iterator

from streams.errors import MalformedRecord
from streams.models import Origin
from streams.wire.decision import (
    FINGERPRINT_BYTES,
    LARGEST_INHERITED_OFFSET,
    Inherited,
    Place,
    decode,
    decode_key,
    encode,
    encode_key,
    inheritance,
)


class Estate:
    """The decisions of one partition, those among them that it has inherited itself."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._rows: dict[Place, bytes] = {}
        self.ids = 0
        """How many ids they have."""

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take in a row of the changelog; what is none of ours is passed over, as recovery does.

        Raises:
            NewerFormat: if a newer version wrote it.
        """
        try:
            place = decode_key(key)
            decision = None if value is None else inheritance(decode(value))
        except MalformedRecord:
            return
        if place.partition != self._partition:
            return
        self._forget(place)
        if decision is None:
            return
        self._rows[place] = encode(decision)
        self.ids += len(decision.fingerprints) // FINGERPRINT_BYTES

    def _forget(self, place: Place) -> None:
        row = self._rows.pop(place, None)
        if row is not None:
            self.ids -= len(decode(row).fingerprints) // FINGERPRINT_BYTES

    @property
    def decided(self) -> int | None:
        """The offset that was decided on last; None where none was."""
        return max((place.offset for place in self._rows if isinstance(place, Origin)), default=None)

    def __len__(self) -> int:
        return len(self._rows)

    def rows_for(self, heir: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield what a new partition inherits, the oldest first: the same rows whenever it is asked.

        Also decisions without ids: the last one tells the epoch, above which the heir's own must be.
        """
        for origin, row in sorted((_origin(place), row) for place, row in self._rows.items()):
            if origin.offset <= LARGEST_INHERITED_OFFSET:
                yield encode_key(Inherited(heir, origin)), row


def _origin(place: Place) -> Origin:
    return place.origin if isinstance(place, Inherited) else place
