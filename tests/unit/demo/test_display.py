"""What ``./dev run`` shows: it fits, it is sparse, and it tells what changes."""

import io

import pytest
from rich.console import Console

from streams.demo.counters import PARTS, Counts, troubles
from streams.demo.display import IN_A_LINE, Lines, Screen, flow, next_line_s, table
from streams.models import Reason

ALL_REASONS = {reason.value: 1_234_567 for reason in Reason}
FULL = Counts(
    359_999.0,
    sent=98_765_432,
    accepted=87_654_321,
    duplicates=5_432_109,
    rejected=ALL_REASONS,
    rows=87_654_321,
    lag_records=1_234_567,
    lag_jobs=765_432,
    troubles={part: f"{part}://127.0.0.1:31234 refuses the connection, errno 111" for part in PARTS},
)


def drawn(before: Counts, now: Counts, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table(before, now))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [80, 140])
def test_a_table_that_is_as_full_as_can_be_fits_on_the_terminal(width: int) -> None:
    lines = drawn(FULL._replace(seconds=0, sent=0), FULL, width)
    assert max(map(len, lines)) <= width
    assert len(lines) < 24
    text = "\n".join(lines)
    assert all(f"{reason} 1,234,567" in text for reason in ALL_REASONS)
    assert all(part in text for part in PARTS)
    assert "98,765,432" in text


def test_the_table_tells_totals_rates_lag_and_the_state_of_each_part() -> None:
    before = Counts(10, sent=200, rows=150)
    now = Counts(15, sent=300, accepted=260, rows=250, lag_records=7, lag_jobs=2, troubles={"redis": "away"})
    words = {line.split()[0]: line.split()[1:] for line in drawn(before, now) if line.split()}
    assert words["sent"] == ["300", "20.0", "worker", "ready", "7"]
    assert words["accepted"] == ["260", "52.0", "ingest", "ready", "2"]
    assert words["rejected"] == ["0", "0.0", "redis", "away"]
    assert words["rows"] == ["250", "20.0", "mqtt", "up"]


def test_a_line_with_large_counts_fits_in_80_columns() -> None:
    half_a_day = Counts(43_200, sent=864_000, rows=777_000, duplicates=43_200, rejected={"a": 43_200})
    assert len(flow(half_a_day)) <= 80


def test_lines_come_often_at_first_and_then_once_a_minute() -> None:
    at, written = 0.0, []
    while at < 600:
        written.append(at)
        at = next_line_s(at)
    assert written == [0, 1, 2, 3, 5, 10, 20, 30, *range(60, 600, 60)]


def test_ten_minutes_are_some_twenty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for second in range(600):
        lines.show(Counts(second + 0.01 * second, sent=20 * second))
    said = capsys.readouterr().out.splitlines()
    assert 15 <= len(said) <= 20
    assert all(name in said[-1] for name in (*IN_A_LINE, "lag"))


def test_a_part_that_changes_is_told_at_once_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for second in range(61, 70):
        away = {"redis": "Connection refused"} if 63 <= second < 66 else {}
        lines.show(Counts(second, troubles=away))
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "sent" not in line] == [
        "   63 s  redis: Connection refused",
        "   66 s  redis: all is well again",
    ]


def test_what_is_said_on_a_terminal_stands_as_it_is() -> None:
    file = io.StringIO()
    screen = Screen(Console(file=file, width=20, force_terminal=True, markup=False, highlight=False))
    screen.say("[b]a line to copy[/b], longer than the terminal is wide")
    assert file.getvalue() == "[b]a line to copy[/b], longer than the terminal is wide\n"


def test_a_service_that_does_not_answer_is_in_trouble_and_what_it_says_of_servers_is_theirs() -> None:
    up, down = {"up": True, "detail": ""}, {"up": False, "detail": "refused"}
    worker = {"ready": False, "parts": {"kafka": up, "redis": down, "consumer": {"up": False, "detail": ""}}}
    assert troubles(worker, None) == {
        "redis": "refused",
        "worker": "is not ready",
        "ingest": "does not answer",
    }
    assert troubles({"parts": {"kafka": up}}, {"parts": {"progress": up}}) == {}
