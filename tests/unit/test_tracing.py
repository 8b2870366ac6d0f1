"""One row a stage: what each stage knows of a message, and what is not known."""

from datetime import datetime

import pytest

from streams.browse.coordinate import Coordinate
from streams.browse.messages import Browsed, TopicKind, TopicRecord, messages_of
from streams.laravel.fence import Fence
from streams.models import Message, Origin, Reading, Reason, RejectedMessage, Stage
from streams.tracing import database, search
from streams.tracing.queue import JobPlace, QueuedJob
from streams.tracing.rows import StageRow, rows_of
from streams.tracing.way import Way
from streams.wire import raw, rejected, unique
from streams.wire.decision import FORMAT, Decision, Refusal, digest

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
TOPIC = f"metrics/{TENANT}/edge-7/cpu"
AT = "2026-11-23T14:00:00.000000Z"
WHEN = datetime.fromisoformat("2026-11-23 14:00:00")  # as the column has it
AT_MS = 1_795_442_400_000
READING = Reading(
    index=1,
    tenant_id=TENANT,
    agent_id="edge-7",
    metric_name="cpu",
    value=42.17,
    timestamp="2026-11-23 14:00:00.000000",
    dedupe_id="d-1",
    key="k" * 32,
)
COORDINATE = Coordinate(3, 1841, 1)
RAW_VALUE = raw.join(
    [
        raw.encode_message(TOPIC, b'{"value": 1}', AT, 1),
        raw.encode_message(TOPIC, b'{"value": 42.17, "dedupe_id": "d-1"}', AT, 1),
    ]
)
HEADERS = {"epoch": b"4", "digest": digest(RAW_VALUE).hex().encode()}


def record(kind: TopicKind, value: bytes, after_ms: int) -> TopicRecord:
    return TopicRecord(kind, 3, 1841, AT_MS + after_ms, value, HEADERS)


def browsed(kind: TopicKind, value: bytes, after_ms: int) -> Browsed:
    return next(each for each in messages_of(record(kind, value, after_ms)) if each.coordinate == COORDINATE)


def way() -> Way:
    made = Way(COORDINATE, chunk_messages=2)
    made.raw = browsed(TopicKind.RAW, RAW_VALUE, 7)
    made.decision = Decision(FORMAT, 4, (AT_MS + 20) / 1_000, digest(RAW_VALUE), [], [], b"")
    return made


def accepted(**changed: object) -> Way:
    made = way()
    made.emitted = [browsed(TopicKind.UNIQUE, unique.encode(Origin(3, 1841), [READING]), 30)]
    made.job = search.job_of(made.emitted[0].record, COORDINATE, TENANT)
    made.fence = Fence(4, 1841, 1702)
    row = database.DatabaseRow("edge-7", "cpu", 42.17, WHEN, "d-1")
    made.stored = database.Stored(row, None)
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def by_stage(rows: list[StageRow]) -> dict[str, StageRow]:
    return {row.stage: row for row in rows}


def test_an_accepted_message_has_a_row_for_each_stage_with_its_time() -> None:
    rows = rows_of(accepted())
    assert [row.stage for row in rows] == ["arrival", "ingress", "refine", "unique", "handoff", "job", "row"]
    assert [row.after_ms for row in rows[:4]] == [None, 7, 20, 30]
    assert "one of 2 in its chunk" in rows[1].says
    assert "42.17" in rows[-1].says


def test_what_was_emitted_again_counts_its_tries() -> None:
    made = accepted()
    made.emitted *= 3
    assert by_stage(rows_of(made))["unique"].tries == 3


@pytest.mark.parametrize(
    ("changed", "stage", "says"),
    [
        ({"queued": QueuedJob(JobPlace.WAITING, 0, 17, None)}, "job", "waits, behind 17 others"),
        ({"queued": QueuedJob(JobPlace.RESERVED, 2, 0, 1.0)}, "job", "until 00:00:01, taken 2 times"),
        ({"queued": QueuedJob(JobPlace.DELAYED, 1, 0, 61.0)}, "job", "due at 00:01:01"),
        ({"fence": Fence(4, 1840, 1)}, "handoff", "not pushed yet: the fence is at 4:1840:1"),
        ({"fence": Fence(3, 9_999, 1)}, "handoff", "not pushed yet"),
        ({"fence": Fence(5, 0, 1)}, "handoff", "pushed"),
        ({"fence": None}, "job", "is not made yet"),
        ({"stored": database.Stored(None, None)}, "row", "there is none"),
        (
            {"stored": database.Stored(None, database.Failure(WHEN, "Error: no\n#0 x"))},
            "job",
            "failed for good, it is in failed_jobs: Error: no",
        ),
        (
            {"stored": database.Stored(database.DatabaseRow("edge-7", "cpu", 1.0, WHEN, "d-1"), None)},
            "row",
            "a later one corrected it",
        ),
        ({"away": {"redis": "refused"}, "fence": None}, "job", "not known"),
        ({"away": {"redis": "refused"}, "fence": None}, "redis", "refused"),
        ({"away": {"postgres": "refused"}, "stored": None}, "row", "not known"),
    ],
)
def test_each_state_of_a_job_and_its_row_is_told(changed: dict[str, object], stage: str, says: str) -> None:
    assert says in by_stage(rows_of(accepted(**changed)))[stage].says


def test_a_rejected_message_ends_with_its_reason() -> None:
    made = way()
    refusal = Refusal(1, Stage.VALIDATE, Reason.TENANT_UNKNOWN, "no tenant")
    made.decision = Decision(FORMAT, 4, AT_MS / 1_000, digest(RAW_VALUE), [], [refusal], b"")
    message = RejectedMessage(index=1, topic=TOPIC, payload="{}", received_at=AT, qos=1, detail="no tenant")
    value = rejected.encode(Origin(3, 1841), Stage.VALIDATE, Reason.TENANT_UNKNOWN, [message])
    made.rejected = [browsed(TopicKind.REJECTED, value, 40)]
    rows = rows_of(made)
    assert [row.stage for row in rows] == ["arrival", "ingress", "refine", "rejected"]
    assert all("tenant_unknown" in row.says for row in rows[2:])


def test_a_duplicate_ends_at_refine() -> None:
    made = way()
    made.decision = Decision(FORMAT, 4, AT_MS / 1_000, digest(RAW_VALUE), [1], [], b"")
    rows = rows_of(made)
    assert rows[-1].stage == "refine"
    assert "duplicate" in rows[-1].says


def test_what_is_not_decided_yet_and_what_retention_took_is_told() -> None:
    made = way()
    made.decision = None
    assert "not decided yet" in rows_of(made)[-1].says
    assert "retention" in rows_of(Way(COORDINATE))[0].says


@pytest.mark.parametrize(
    ("payload", "wanted", "is_named"),
    [
        ('{"dedupe_id": "d-1"}', "d-1", True),
        ('{"dedupe_id": 17}', "17", True),
        ('{"dedupe_id": "d-12"}', "d-1", False),
        ('{"value": "d-1"}', "d-1", False),
        ('{"dedupe_id": "d-1"', "d-1", True),  # rejected, since it is no JSON
    ],
)
def test_a_message_is_found_by_its_own_dedupe_id_alone(payload: str, wanted: str, is_named: bool) -> None:  # noqa: FBT001
    message = Browsed(record(TopicKind.RAW, b"", 0), COORDINATE, Message(TOPIC, payload, received_at=AT))
    assert search.names(message, wanted) is is_named


def test_a_reading_is_found_by_its_id_and_by_its_key() -> None:
    message = browsed(TopicKind.UNIQUE, unique.encode(Origin(3, 1841), [READING]), 0)
    assert [search.names(message, wanted) for wanted in ("d-1", "k" * 32, "d")] == [True, True, False]
