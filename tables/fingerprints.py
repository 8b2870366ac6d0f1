"""The index over remembered ids: with which content, and by which decision, was an id accepted last?

Owned by a partition's state. Millions of entries that each cost little more than the bytes they consist of:
an entry is 30 bytes, packed with some eight others into one bytes object, its bucket:

    <16 bytes of id> <8 of content> <6 of the decision's offset, big-endian>

A bucket is searched by ``bytes.find``, which is C, so an id costs one call. The buckets are a linear hash
table (Litwin 1980): it grows and shrinks by one bucket at a time, so the event loop never waits while all of
it is rehashed. With 2 million ids the longest add takes 2 ms, that of a dict 200.

`./dev bench dedupe` measures both. A dict of tuples takes five times the memory and answers two and a half
times as fast. A sketch of open addressing in numpy made 1.5 times the look-ups of this for a chunk of 200
ids, but a quarter for one of 20 and a 25th for a single id.
"""

from array import array
from collections.abc import Iterable, Iterator
from struct import Struct

from streams.wire.decision import CONTENT_BYTES, FINGERPRINT_BYTES, ID_BYTES

OFFSET_BYTES = 6  # at 1,000 records a second, enough for 8,900 years
ENTRY_BYTES = FINGERPRINT_BYTES + OFFSET_BYTES

# More entries in a bucket share its 50 bytes of overhead, but take longer to search, and grow over the 512
# bytes up to which CPython allocates from its own pools. Measured: with six 39.7 bytes an entry, with nine
# 37.9, with twelve 39.0 and the look-ups of unknown ids a fifth slower.
MOST_IN_A_BUCKET = 8
# Apart from the number above, so that a number of ids that swings a little moves no entries.
FEWEST_IN_A_BUCKET = 5

_PLACE_MASK = 0xFFFF_FFFF
_sighting = Struct(f">{CONTENT_BYTES}sHI")  # one call, where slices and int.from_bytes take three


class Fingerprints:
    """One entry for each id, that of the decision with the highest offset.

    The place of an id is 32 bits of its hash, and all that its decision has to keep to find it again.
    """

    __slots__ = ("_buckets", "_entries", "_half")

    def __init__(self) -> None:
        self._buckets = [b""]
        self._half = 1  # a power of two, with _half <= len(_buckets) < 2 * _half
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def __iter__(self) -> Iterator[bytes]:
        for bucket in self._buckets:
            for start in range(0, len(bucket), ENTRY_BYTES):
                yield bucket[start : start + ID_BYTES]

    @property
    def buckets(self) -> int:
        """How many buckets there are, which follows the number of entries."""
        return len(self._buckets)

    def find(self, ids: Iterable[bytes]) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield (id, content, offset of the decision) for those ids that are known."""
        buckets, half = self._buckets, self._half
        mask, count = 2 * half - 1, len(buckets)
        sighting = _sighting.unpack_from
        for id_ in ids:
            # An id is a digest, but whoever sends it chooses the input: Python's hash of bytes is keyed for
            # each process.
            number = hash(id_) & mask
            bucket = buckets[number if number < count else number - half]
            at = bucket.find(id_)
            if at > 0 and at % ENTRY_BYTES:
                at = _aligned(bucket, id_, at, 0)
            if at >= 0:
                content, high, low = sighting(bucket, at + ID_BYTES)
                yield id_, content, high << 32 | low

    def add(self, fingerprints: bytes, offset: int, *, enter_unknown: bool = True) -> "array[int]":
        """Enter a decision's packed fingerprints, and return the places of their ids.

        An id that a later decision accepted keeps that one's entry.

        Args:
            fingerprints: of the decision.
            offset: of the decision.
            enter_unknown: whether ids get an entry that have none.
        """
        decision = offset.to_bytes(OFFSET_BYTES)
        places = array("I")
        buckets, half = self._buckets, self._half
        mask, count = 2 * half - 1, len(buckets)
        for start in range(0, len(fingerprints), FINGERPRINT_BYTES):
            fingerprint = fingerprints[start : start + FINGERPRINT_BYTES]
            id_ = fingerprint[:ID_BYTES]
            place = hash(id_) & _PLACE_MASK
            places.append(place)
            number = place & mask
            if number >= count:
                number -= half
            bucket = buckets[number]
            at = bucket.find(id_)
            if at > 0 and at % ENTRY_BYTES:
                at = _aligned(bucket, id_, at, 0)
            if at < 0:
                if enter_unknown:
                    buckets[number] = bucket + fingerprint + decision
                    self._entries += 1
            elif bucket[at + FINGERPRINT_BYTES : at + ENTRY_BYTES] <= decision:
                buckets[number] = bucket[:at] + fingerprint + decision + bucket[at + ENTRY_BYTES :]
        # After the loop, which has read once how many buckets there are: a split changes that.
        while self._entries > MOST_IN_A_BUCKET * len(buckets):
            self._split_one()
        return places

    def remove(self, places: Iterable[int], offset: int) -> None:
        """Remove the entries of a decision, which are at these places unless a later one took them over."""
        decision = offset.to_bytes(OFFSET_BYTES)
        buckets, half = self._buckets, self._half
        mask, count = 2 * half - 1, len(buckets)
        for place in places:
            number = place & mask
            if number >= count:
                number -= half
            bucket = buckets[number]
            # All of the decision's entries go, each has a place that leads to its bucket, and so it does not
            # matter which of those in one bucket goes for which place.
            end = _aligned(bucket, decision, bucket.find(decision), FINGERPRINT_BYTES) + OFFSET_BYTES
            if end >= ENTRY_BYTES:
                buckets[number] = bucket[: end - ENTRY_BYTES] + bucket[end:]
                self._entries -= 1
        while self._entries < FEWEST_IN_A_BUCKET * len(buckets) and len(buckets) > 1:
            self._join_one()

    def _split_one(self) -> None:
        """Move those entries of the next bucket to a new one that one more bit of the hash tells apart."""
        buckets, half = self._buckets, self._half
        number = len(buckets) - half
        bucket = buckets[number]
        stay, go = list[bytes](), list[bytes]()
        for start in range(0, len(bucket), ENTRY_BYTES):
            entry = bucket[start : start + ENTRY_BYTES]
            # The hash is worked out again rather than kept: four bytes for each entry would be a seventh
            # more.
            (go if hash(entry[:ID_BYTES]) & half else stay).append(entry)
        buckets[number] = b"".join(stay)
        buckets.append(b"".join(go))
        if len(buckets) == 2 * half:
            self._half = len(buckets)

    def _join_one(self) -> None:
        """Undo the latest split."""
        buckets = self._buckets
        if len(buckets) == self._half:
            self._half //= 2
        last = buckets.pop()
        buckets[len(buckets) - self._half] += last


def _aligned(bucket: bytes, field: bytes, at: int, start: int) -> int:
    """Return where a field stands `start` bytes into an entry, looking from a first finding on, or -1.

    The same bytes may also stand across two fields.
    """
    while at >= 0 and at % ENTRY_BYTES != start:
        at = bucket.find(field, at + 1)
    return at
