"""One row for each stage that a message passed, with times and retries. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from streams.browse.messages import payload_text
from streams.laravel.fence import Fence
from streams.models import Message, Reading, RejectedMessage
from streams.tracing.queue import JobPlace, QueuedJob
from streams.tracing.way import Way
from streams.wire.headers import SESSION, read_epoch, read_term
from streams.wire.mark import Fate

MS = 1_000
PAYLOAD_SHOWN = 120
MARKED = {
    Fate.REPLAYED: "put back; retention has removed it from the raw topic again",
    Fate.SUPERSEDED: "left out of a replay: it, or a later value of its id, had been accepted",
    Fate.DISMISSED: "dismissed",
}


class StageRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one stage did with the message."""

    stage: str
    says: str
    at_ms: int | None = None
    """Unix time in milliseconds; None where nothing tells."""
    after_ms: int | None = None
    """Since the message arrived."""
    tries: int = 1


def rows_of(way: Way) -> list[StageRow]:
    """Return the rows, in the order of the stages."""
    return [_since_arrival(row, _arrived_ms(way)) for row in _rows(way)]


def _rows(way: Way) -> Iterator[StageRow]:
    yield from _arrival(way)
    yield from _decided(way)
    if way.rejected:
        yield from _rejected(way)
    elif way.emitted:
        yield from _emitted(way)
        yield _handed_off(way)
        yield _job(way)
        yield _stored(way)
    elif not _is_duplicate(way):
        yield StageRow("refine", "not decided yet, or too long ago: neither topic that it writes has it")
    yield from (
        StageRow(part, f"not asked, since it does not answer: {why}") for part, why in way.away.items()
    )


def _arrival(way: Way) -> Iterator[StageRow]:
    if way.raw is None:
        yield StageRow("ingress", f"{way.coordinate} was removed from the raw topic by its retention")
        return
    body, record = way.raw.body, way.raw.record
    if isinstance(body, Message | RejectedMessage):
        payload = payload_text(body)
        more = "…" if len(payload) > PAYLOAD_SHOWN else ""
        says = f"{body.topic} {payload[:PAYLOAD_SHOWN]}{more} at QoS {body.qos}"
        yield StageRow("arrival", says, _arrived_ms(way))
    session = record.headers.get(SESSION, b"").decode(errors="replace")
    by = f", by the session {session}" if session else ""
    term = read_term(record.headers)
    under = f", term {term}" if term else ""
    says = f"at {way.raw.coordinate}, one of {way.chunk_messages} in its chunk{by}{under}"
    yield StageRow("ingress", says, record.written_ms)


def _decided(way: Way) -> Iterator[StageRow]:
    decision, at = way.decision, way.raw.coordinate if way.raw else way.coordinate
    if decision is None:
        return
    refusal = next((each for each in decision.refusals if each.index == at.index), None)
    if refusal is not None:
        says = f"rejected by {refusal.stage} as {refusal.reason}: {refusal.detail}"
    elif _is_duplicate(way):
        says = "a duplicate: the same came before within DEDUPE_WINDOW_S, and was accepted. It ends here"
    else:
        says = "accepted"
    yield StageRow("refine", says, round(decision.decided_at * MS))


def _is_duplicate(way: Way) -> bool:
    index = way.raw.coordinate.index if way.raw else way.coordinate.index
    return way.decision is not None and index in way.decision.duplicates


def _rejected(way: Way) -> Iterator[StageRow]:
    first = way.rejected[0]
    body = first.body
    detail = body.detail if isinstance(body, RejectedMessage) else ""
    says = f"partition {first.record.partition}, offset {first.record.offset}, {first.reason}: {detail}"
    yield StageRow("rejected", says, first.record.written_ms, tries=len(way.rejected))
    if way.put_back is not None:
        yield StageRow("put back", f"it goes on as {way.put_back}: metric-streams trace {way.put_back}")
    elif way.mark is not None:
        yield StageRow("since then", MARKED[way.mark])


def _emitted(way: Way) -> Iterator[StageRow]:
    record, reading = way.emitted[0].record, way.reading
    key = reading.dedupe_id or reading.key if isinstance(reading, Reading) else ""
    says = f"partition {record.partition}, offset {record.offset}, dedupe id {key}"
    yield StageRow("unique", says, record.written_ms, tries=len(way.emitted))


def _handed_off(way: Way) -> StageRow:
    if "redis" in way.away:
        return StageRow("handoff", "not known")
    if way.fence is None:
        return StageRow("handoff", "not pushed yet: there is no fence for this partition")
    where = f"the fence is at {way.fence}"
    if is_behind(way, way.fence):
        return StageRow("handoff", f"pushed: {where}")
    return StageRow("handoff", f"not pushed yet: {where}")


def is_behind(way: Way, fence: Fence) -> bool:
    """Tell whether a fence lies at or behind a message's chunk, so that its job was pushed."""
    epoch = read_epoch(way.emitted[0].record.headers)
    return (epoch, way.coordinate.offset) <= (fence.epoch, fence.raw_offset)


def _job(way: Way) -> StageRow:
    if way.queued is not None:
        return StageRow("job", f"{way.job} {_place(way.queued)}", tries=way.queued.attempts or 1)
    if way.stored is not None and way.stored.failure is not None:
        failed_at, exception = way.stored.failure
        why = exception.strip().splitlines()[0] if exception.strip() else "no reason"
        says = f"{way.job} failed for good, it is in failed_jobs: {why}"
        return StageRow("job", says, round(failed_at.replace(tzinfo=UTC).timestamp() * MS))
    if "redis" in way.away:
        return StageRow("job", f"{way.job}: not known")
    if way.fence is None or not is_behind(way, way.fence):
        return StageRow("job", f"{way.job} is not made yet")
    return StageRow("job", f"{way.job} is no longer in the queue: its worker is done with it")


def _place(job: QueuedJob) -> str:
    tried = f", taken {job.attempts} times" if job.attempts else ""
    if job.place is JobPlace.WAITING:
        return f"waits, behind {job.before_it:,} others{tried}"
    when = "" if job.at_s is None else datetime.fromtimestamp(job.at_s, UTC).strftime(" %H:%M:%S")
    until = "due at" if job.place is JobPlace.DELAYED else "until"
    return f"{job.place}, {until}{when}{tried}"


def _stored(way: Way) -> StageRow:
    if way.stored is None:
        return StageRow("row", "not known")
    row = way.stored.row
    if row is None:
        return StageRow("row", "there is none in metrics_raw")
    says = f"metrics_raw: {row.agent_id} {row.metric_name} = {row.value:g} at {row.timestamp}"
    corrected = "" if _is_as_read(way) else "; another value than this message's: a later one corrected it"
    return StageRow("row", f"{says}{corrected}")


def _is_as_read(way: Way) -> bool:
    row, reading = way.stored.row if way.stored else None, way.reading
    return row is None or reading is None or float(reading.value) == row.value


def _arrived_ms(way: Way) -> int | None:
    body = way.raw.body if way.raw else (way.rejected[0].body if way.rejected else None)
    if not isinstance(body, Message | RejectedMessage) or not body.received_at:
        return None
    try:
        return round(datetime.fromisoformat(body.received_at).timestamp() * MS)
    except ValueError:
        return None


def _since_arrival(row: StageRow, arrived_ms: int | None) -> StageRow:
    if row.at_ms is None or arrived_ms is None or row.stage == "arrival":
        return row
    return msgspec.structs.replace(row, after_ms=row.at_ms - arrived_ms)
