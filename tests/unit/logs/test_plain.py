"""Nothing from outside forges a line of the log or moves the terminal's cursor."""

import io
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.logs.plain import PlainRecord, escape_logs, plain

DETAIL = "Key (a)=(\x1b[2J\x9b1m\r\n2026-11-25 CRITICAL forged\u202e\u2066\u2028\x85\u061c) exists"
SHOWN = r"Key (a)=(\x1b[2J\x9b1m\r\n2026-11-25 CRITICAL forged\u202e\u2066\u2028\x85\u061c) exists"


@pytest.fixture
def logged(unique: str) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    before, stream = logging.getLogRecordFactory(), io.StringIO()
    escape_logs()
    logger = logging.getLogger(unique)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_what_came_from_outside_is_escaped_in_a_line(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    logger.warning("the database refused a row: %s", DETAIL)
    assert stream.getvalue() == f"WARNING the database refused a row: {SHOWN}\n"


def test_our_own_lines_stay_lines(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    logger.warning("topics:\n  %s", "metrics.raw é\n  metrics.unique")
    assert stream.getvalue() == "WARNING topics:\n  metrics.raw é\n  metrics.unique\n"


def _fail() -> None:
    raise ValueError(DETAIL)


def test_a_traceback_forges_no_line_either(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    try:
        _fail()
    except ValueError:
        logger.exception("a bug")
    first, *rest = stream.getvalue().splitlines()
    assert first == "ERROR a bug"
    assert rest[0].startswith("Traceback")
    assert all(line.startswith("  ") for line in rest[1:])
    assert "\x1b" not in stream.getvalue()


@given(st.text())
def test_each_line_but_the_first_is_indented_and_no_character_is_obeyed(text: str) -> None:
    lines = plain(text).split("\n")
    assert all(line.startswith("  ") for line in lines[1:])
    assert not any(ord(one) < 0x20 and one not in "\t\n" for one in plain(text))


def test_a_record_without_arguments_is_shown_too() -> None:
    record = PlainRecord("name", logging.INFO, "path", 1, "a\x1bb", (), None)
    assert record.getMessage() == r"a\x1bb"
