"""Tells of records that were deleted before they were read: once each, with how many there were."""

import logging

from streams.counters import Note, Statistics


class RecordsCut:
    """Notes what one topic has lost.

    Args:
        log: of whoever places the topic's partitions.
        message: with the topic, the partition, and the offsets from which and up to which records are gone.
        topic: as it is called.
        statistics: counts the records.
    """

    def __init__(self, log: logging.Logger, message: str, topic: str, statistics: Statistics) -> None:
        self._log = log
        self._message = message
        self._topic = topic
        self._statistics = statistics
        self._told: dict[int, tuple[int, int]] = {}

    def tell(self, partition: int, start: int, end: int) -> None:
        """Say that those from one offset up to another are gone, unless that was said last."""
        if self._told.get(partition) == (start, end):
            return  # a partition may be placed twice at a time, for two reasons
        self._told[partition] = (start, end)
        self._log.error(self._message, self._topic, partition, start, end)
        self._statistics.notes[Note.RECORDS_CUT] += end - start
