"""Rows of the changelog, any and good ones in turn, as recovery reads them into the table.

A row of a newer version ends the worker, and so recovery: what was taken in before stays as it was.
"""

import math
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP

from agents.refine import Refinery
from agents.refine import build as build_refine
from streams.application import build
from streams.counters import Statistics
from streams.database.tenants import FakeTenants
from streams.errors import MalformedRecord, MetricStreamsError, NewerFormat, PositionMoved
from streams.kafka.record_loop import Record
from streams.kafka.testing import FakeTopics
from streams.models import Origin, Reason, Stage
from streams.settings import Settings
from streams.topics import SEEN_TABLE
from streams.wire import decision as wire
from streams.wire import raw, rejected
from streams.wire.decision import FORMAT, Decision, Inherited, Place, Refusal
from tables.seen import SeenStore
from tables.state import SeenState
from tables.testing import FakeSeen
from tests.fuzz.oracles import finish
from tests.fuzz.source import Source

PARTITION = 3
MOST_ROWS = 40
GOOD = range(100, 104)
TIMES = [0.0, 1.0, 1_795_442_400.0, 1e18, -1.0, math.inf, -math.inf, math.nan]
INDEXES = [0, 1, 2, 499, 500, -1, 2**40]
SETTINGS = Settings()
APP = build(SETTINGS)
build_refine(APP)
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
CHUNK = raw.join(
    [
        raw.encode_message(
            f"metrics/{TENANT}/a/b", b'{"value": 1, "dedupe_id": "d"}', "2026-11-23T14:00:00Z", 1
        ),
        raw.encode_message("metrics/a", b"", "2026-11-23T14:00:00Z", 0),
    ]
)
_REFUSAL = Refusal(1, Stage.PARSE, Reason.TOPIC_MALFORMED, "the topic")


Expected = dict[Place, Decision]


def _good(offset: int) -> Decision:
    fingerprint = offset.to_bytes(16) + offset.to_bytes(8)
    return Decision(FORMAT, 1, 1_795_442_400.0, wire.digest(CHUNK), [], [_REFUSAL], fingerprint)


def _row(kind: int, key: bytes, value: bytes) -> bytes:
    return bytes([kind]) + key + b"\n" + len(value).to_bytes(2) + value


SEEDS = [
    _row(1, b"3-7", wire.encode(_good(7))) + _row(0, b"3-101", b""),
    _row(1, b"4-7", wire.encode(_good(7))) + _row(1, b"3-99999999999999999999", wire.encode(_good(7))),
    _row(1, b"3-" + b"9" * 5000, b"\xff"),
    _row(1, b"2-7>3", wire.encode(_good(7)))
    + _row(1, b"1-7>3", wire.encode(_good(8)))
    + _row(0, b"2-7>3", b""),
    _row(1, b"2-7>3", wire.encode(_good(7))) + _row(1, b"0-8>3", wire.encode(_good(8))),
    _row(1, b"3-5", wire.encode(_good(7))[:-1]) + _row(1, b"", b"") + _row(0, b"x-y", b""),
    # Beyond the fields of a decision, where a decoder still has to find the end.
    _row(1, b"3-5", b"\x98" + wire.encode(_good(7))[1:] + b"\x91" * 3000),
    *(bytes([2, *range(seed, seed + 40)]) * 3 for seed in range(0, 80, 7)),
]
WORDS = [
    b"3-",
    b"3-104",
    b"4-1",
    b">3",
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"validate",
]


def fuzz(data: bytes) -> None:
    """Whatever stands in the changelog, recovery ends with what can be read, and work goes on."""
    source, state = Source(data), SeenState(window_s=3_600.0, max_ids=10)
    store = SeenStore("memory://", APP, APP.tables[SEEN_TABLE], table_name="seen", memory=state)
    refused: list[MetricStreamsError] = []
    store.app = cast("Any", SimpleNamespace(refuse=refused.append))
    expected: Expected = {}
    rows = [*(_any(source) for _ in range(MOST_ROWS) if source)]
    for number, (key, value) in enumerate(rows):
        _apply(store, expected, number, key, value)
        if refused:
            break
        good = GOOD[number % len(GOOD)]
        _apply(store, expected, number, b"3-%d" % good, wire.encode(_good(good)))
    _holds(state, expected)
    _goes_on(state)


def _any(source: Source) -> tuple[bytes | None, bytes | None]:
    kind = source.number() % 3
    if kind == 2:
        return b"3-%d" % (source.number() % 128), wire.encode(_decision(source))
    return source.line() or None, source.block() if kind else None


def _decision(source: Source) -> Decision:
    refusals = [
        Refusal(source.pick(INDEXES), source.pick(list(Stage)), source.pick(list(Reason)), source.text())
        for _ in range(source.number() % 3)
    ]
    return Decision(
        source.pick([*[FORMAT] * 12, 0, 1, FORMAT + 1, wire.LARGEST_FORMAT + 1]),
        source.pick([1, 0, -1, 2**53, 2**64 - 1]),
        source.pick(TIMES),
        source.pick([wire.digest(CHUNK), b"", b"another."]),
        [source.pick(INDEXES) for _ in range(source.number() % 3)],
        refusals,
        source.take(24 * (source.number() % 3)),
        source.pick([0, 0, 0, 3, 255, 256, -1]),
        source.pick([-1, 0, 7, 2**48 - 1, 2**48, -2]),
        source.pick([0, 4, 2**63 - 1, -1]),
    )


def _apply(store: SeenStore, expected: Expected, number: int, key: bytes | None, value: bytes | None) -> None:
    tp = TP("changelog", PARTITION)
    event: Any = SimpleNamespace(message=SimpleNamespace(key=key, value=value, tp=tp, offset=number))
    store.apply_changelog_batch([event], bytes, bytes)
    assert store.persisted_offset(tp) == (
        number if not _is_newer(key, value) else number - 1 if number else None
    )
    with suppress(MalformedRecord, NewerFormat):
        place = wire.decode_key(key or b"")
        _comes_back(place)
        decided = None if value is None else wire.decode(value)
        if place.partition == PARTITION and place in _places(store.memory):
            _expect(expected, place, decided)
        elif decided is None:
            expected.pop(place, None)
        else:  # two partitions cannot have been its former one
            assert place.partition != PARTITION or isinstance(place, Inherited)


def _places(state: SeenState) -> list[Place]:
    partition = state.partition(PARTITION)
    own: list[Place] = [Origin(PARTITION, offset) for offset in partition.offsets()]
    return own + [Inherited(PARTITION, origin) for origin in partition.inherited()]


def _is_newer(key: bytes | None, value: bytes | None) -> bool:
    """Tell whether a row is one of ours that a newer version wrote."""
    try:
        if wire.decode_key(key or b"").partition == PARTITION and value is not None:
            wire.decode(value)
    except MalformedRecord:
        return False
    except NewerFormat:
        return True
    return False


def _comes_back(place: Place) -> None:
    assert wire.decode_key(wire.encode_key(place)) == place
    origin = place.origin if isinstance(place, Inherited) else place
    assert 0 <= origin.offset < 2**63


def _expect(expected: Expected, place: Place, decided: Decision | None) -> None:
    if decided is None:
        expected.pop(place, None)
        return
    assert wire.decode(wire.encode(decided)) == decided
    assert math.isfinite(decided.decided_at)
    if isinstance(place, Inherited):
        expected.setdefault(place, decided)  # such rows never change
    else:
        expected[place] = decided


def _holds(state: SeenState, expected: Expected) -> None:
    partition = state.partition(PARTITION)
    assert set(_places(state)) == set(expected)
    assert state.ids == sum(len(decision.fingerprints) // 24 for decision in expected.values())
    own = {place.offset: decision for place, decision in expected.items() if isinstance(place, Origin)}
    if own and partition.last_offset is not None:
        assert partition.last_offset == max(own)
    for offset in own.keys() & GOOD:
        if own[offset] == _good(offset) and all(
            decision == _good(other) for other, decision in own.items() if other > offset
        ):
            assert partition.seen(offset.to_bytes(16), horizon=0.0) in (offset.to_bytes(8), None)
    for origin in state.evictable(PARTITION, 1_795_442_400.0, 32):
        assert origin.partition == PARTITION


def _goes_on(state: SeenState) -> None:
    """The chunk of the last decision comes again, and one more after it."""
    last = state.partition(PARTITION).last_offset
    if last is None:
        return
    table, topics = FakeSeen(), FakeTopics()
    table.memory = state
    refinery = Refinery(
        SETTINGS,
        seen=table,
        tenants=FakeTenants({TENANT}),
        emit=topics.emit,
        statistics=Statistics(),
        clock=lambda: 1_795_442_400.0,
    )
    with suppress(PositionMoved):  # the digest is another record's
        finish(refinery.refine([Record(PARTITION, last, CHUNK, {})]))
    finish(refinery.refine([Record(PARTITION, last + 1, CHUNK, {})]))
    for emitted in topics.all(SETTINGS.rejected_topic):
        for message in rejected.decode(emitted.value).messages:
            assert message.index in range(2)
