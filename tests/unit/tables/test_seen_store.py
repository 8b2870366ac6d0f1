"""What recovery makes of the changelog: rows that cannot be read are skipped, and those around them count."""

import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.application import build
from streams.models import Origin
from streams.settings import Settings
from streams.wire.decision import FORMAT, Decision, encode
from tables.seen import SeenStore, SeenTable
from tables.skipped_rows import NAMED
from tables.state import SeenState

OURS = TP("changelog", 3)
NOW = 1_795_442_400.0


def decision(number: int, at: float = NOW) -> Decision:
    return Decision(FORMAT, 1, at, b"8 bytes.", [], [], number.to_bytes(16) + number.to_bytes(8))


def store() -> SeenStore:
    memory = SeenState(window_s=3_600.0, max_ids=1_000)
    app = build(Settings())
    table = SeenTable(app, memory=memory, name="seen")
    return SeenStore("memory://", app, table, table_name="seen", memory=memory)


def apply(to: SeenStore, *rows: tuple[bytes | None, bytes | None]) -> None:
    start = to.offsets.get(OURS, -1) + 1
    events: Any = [
        SimpleNamespace(message=SimpleNamespace(key=key, value=value, tp=OURS, offset=start + number))
        for number, (key, value) in enumerate(rows)
    ]
    to.apply_changelog_batch(events, bytes, bytes)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, encode(decision(9))),
        (b"", encode(decision(9))),
        (b"soon", encode(decision(9))),
        (b"3-" + b"9" * 5000, encode(decision(9))),
        (b"4-9", encode(decision(9))),
        (b"3-9", b""),
        (b"3-9", b"\x91" * 100_000),
        (b"4-2", None),
        (b"", None),
    ],
    ids=range(9),
)
def test_a_row_that_cannot_be_is_passed_over_and_named_and_the_others_count(
    key: bytes | None, value: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    found = store()
    apply(found, (b"3-1", encode(decision(1))), (key, value), (b"3-2", encode(decision(2))))
    partition = found.memory.partition(3)
    assert sorted(partition.offsets()) == [1, 2]
    assert not list(found.memory.partition(4).offsets())
    assert partition.seen((1).to_bytes(16), horizon=0) == (1).to_bytes(8)
    assert found.persisted_offset(OURS) == 2
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert said.getMessage().startswith("changelog[3] offset 1: skipped a row of the changelog: ")
    assert len(said.getMessage()) < 300


async def test_of_ten_thousand_bad_rows_the_first_are_named_and_the_rest_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = store()
    apply(found, *[(b"", b"")] * 10_000)
    await found.on_recovery_completed({OURS}, set())
    await found.on_recovery_completed({OURS}, set())
    assert len(caplog.records) == NAMED + 1
    assert "10000 rows" in caplog.messages[-1]


def test_a_decision_of_the_future_counts_as_one_of_now_so_that_it_can_leave_the_window() -> None:
    found = store()
    apply(found, (b"3-1", encode(decision(1, at=1e18))), (b"3-2", encode(decision(2, at=1e18))))
    now = time.time()
    assert found.memory.partition(3).unsettled.get(2) is not None
    assert found.memory.partition(3).seen((1).to_bytes(16), horizon=now - 60) is not None
    assert found.memory.evictable(3, now + found.memory.window_s + 60, limit=8) == [Origin(3, 1)]
