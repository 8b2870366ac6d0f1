"""A stopped Kafka's logs on disk: the tail of a partition is cut off, as an unclean election would leave it.

Batches follow each other in a segment, each with its base offset and its length ahead
(https://kafka.apache.org/documentation/#recordbatch). Indexes are made anew by Kafka's recovery.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct(">qi")
_LAST_OFFSET_DELTA = struct.Struct(">i")
_LAST_OFFSET_DELTA_AT = 23
_CHECKPOINTS = (
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "cleaner-offset-checkpoint",
    ".kafka_cleanshutdown",
)


class Batch(NamedTuple):
    """Where a batch stands in its segment."""

    at: int
    size: int
    base_offset: int
    last_offset: int


def batches(segment: bytes) -> Iterator[Batch]:
    """Yield the batches of a segment."""
    at = 0
    while at + _HEAD.size < len(segment):
        base, length = _HEAD.unpack_from(segment, at)
        if length <= 0:  # preallocated, and not written
            return
        (delta,) = _LAST_OFFSET_DELTA.unpack_from(segment, at + _LAST_OFFSET_DELTA_AT)
        yield Batch(at, _HEAD.size + length, base, base + delta)
        at += _HEAD.size + length


def cut_tails(data: Path, topic: str, ends: Mapping[int, int]) -> dict[int, int]:
    """Cut partitions of a topic back, so that they end at an offset or, within a batch, before it.

    Args:
        data: the log directory of a Kafka that does not run.
        topic: its name.
        ends: by partition, the offset that is to be written next.

    Returns:
        By partition, the offset at which it ends now.
    """
    for checkpoint in _CHECKPOINTS:
        (data / checkpoint).unlink(missing_ok=True)
    return {partition: _cut(data / f"{topic}-{partition}", end) for partition, end in ends.items()}


def _cut(directory: Path, end: int) -> int:
    segments = sorted(directory.glob("*.log"))
    kept = 0
    for segment in segments:
        first = int(segment.stem)
        if first >= end and first > int(segments[0].stem):
            segment.unlink()
            continue
        content = segment.read_bytes()
        good = [batch for batch in batches(content) if batch.last_offset < end]
        size = good[-1].at + good[-1].size if good else 0
        kept = good[-1].last_offset + 1 if good else first
        with segment.open("r+b") as file:
            file.truncate(size)
    _forget_what_follows_from_the_segments(directory)
    return kept


def _forget_what_follows_from_the_segments(directory: Path) -> None:
    derived = re.compile(r"\.(index|timeindex|txnindex|snapshot)$|^leader-epoch-checkpoint$")
    for file in directory.iterdir():
        if derived.search(file.name):
            file.unlink()
