"""Of the rows that cannot be used the first are named, and all are counted."""

import pytest
from faust.types import TP

from tables.skipped_rows import NAMED, SkippedRows


def told(rows: int, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines about that many rows."""
    skipped = SkippedRows()
    for offset in range(rows):
        skipped.note(TP("seen-changelog", 3), offset, "not a decision")
    skipped.sum_up()
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    skipped.sum_up()
    assert not caplog.records  # it has begun anew
    return lines


def test_a_row_is_named_with_its_place_and_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    line = "seen-changelog[3] offset 0: skipped a row of the changelog: not a decision"
    assert told(1, caplog) == [line]


def test_as_many_as_are_named_need_no_sum(caplog: pytest.LogCaptureFixture) -> None:
    assert len(told(NAMED, caplog)) == NAMED


def test_of_more_the_number_is_told_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    *named, last = told(NAMED + 1, caplog)
    assert len(named) == NAMED
    assert last == f"skipped {NAMED + 1} rows of the changelog; {NAMED} of them are named above"


def test_a_reason_is_shown_but_not_all_of_a_long_one(caplog: pytest.LogCaptureFixture) -> None:
    SkippedRows().note(TP("seen-changelog", 3), 0, "x" * 1_000)
    assert caplog.records[0].getMessage().endswith(f": {'x' * 200}")
