"""The lag of partitions in seconds: by what was fetched, else by what the log says."""

from faust.types import TP

from streams.kafka.log_reader import FakeLogReader, LogRecord
from streams.kafka.positions import Admission, Cursor, Position
from streams.web.lags import Lag, lag_seconds

RAW, UNIQUE = TP("metrics.raw", 0), TP("metrics.unique", 0)


def reader() -> FakeLogReader:
    return FakeLogReader(lambda _: [LogRecord(7, b"{}", {}, 990_000)])


async def test_what_was_fetched_tells_its_age_and_nothing_behind_means_none() -> None:
    found = {RAW: Lag(7, 1, oldest_at=940.0), UNIQUE: Lag(7, 0)}
    assert await lag_seconds(found, FakeLogReader(lambda _: []), 1_000.0) == {RAW: 60.0, UNIQUE: 0.0}


async def test_a_record_that_was_fetched_counts_even_before_the_end_of_the_log_is_known() -> None:
    assert await lag_seconds({RAW: Lag(7, 0, oldest_at=999.0)}, reader(), 1_000.0) == {RAW: 1.0}


async def test_of_what_was_not_fetched_the_log_tells_the_age() -> None:
    assert await lag_seconds({RAW: Lag(7, 3)}, reader(), 1_000.0) == {RAW: 10.0}


async def test_what_is_not_known_is_left_out() -> None:
    away = reader()
    away.away = True
    assert await lag_seconds({RAW: Lag(7, 3), UNIQUE: Lag(None, 0)}, away, 1_000.0) == {}


async def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    assert await lag_seconds({RAW: Lag(7, 1, oldest_at=1_001.0)}, reader(), 1_000.0) == {RAW: 0.0}


def test_a_cursor_knows_when_the_record_was_written_that_comes_next() -> None:
    cursor = Cursor()
    cursor.place(Position(5))
    assert cursor.oldest_at is None
    for offset in (5, 6, 7):
        assert cursor.fetched(offset, 100.0 + offset) is Admission.TAKE
    assert cursor.oldest_at == 105.0
    cursor.done(5)
    assert cursor.oldest_at == 106.0
    cursor.rewind(6)
    assert cursor.oldest_at is None
    assert cursor.fetched(6, 106.0) is Admission.TAKE
    assert cursor.oldest_at == 106.0
    cursor.done(6)
    assert (cursor.oldest_at, len(cursor.times)) == (None, 0)
