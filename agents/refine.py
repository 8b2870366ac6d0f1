"""refine: parse, validate and dedupe each chunk of metrics.raw; decide, record, emit.

Between metrics.raw and metrics.unique and metrics.rejected. What becomes of a chunk is recorded in the table
``seen`` before anything is emitted, so a chunk that comes again emits the very same again.
"""

import logging
import math
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
from faust.types import StreamT

from agents.dedupe import accepted, dedupe
from agents.loop import Record, carry
from agents.parse import parse
from agents.validate import tenant_unknown, validate
from streams.application import app, settings, statistics
from streams.errors import Displaced, MalformedRecord
from streams.kafka.app import raw_bytes
from streams.kafka.producer import deliver
from streams.models import Candidate, Message, Origin, Reason, RejectedMessage, Rejection, Stage
from streams.postgres.tenants import TenantDirectory, Tenants
from streams.settings import Settings
from streams.statistics import Statistics
from streams.topics import SEEN_TABLE
from streams.wire import raw, rejected, unique
from streams.wire.decision import FORMAT, Decision, Refusal, digest
from streams.wire.headers import headers
from tables.seen import SeenPositions, SeenTable
from tables.state import SeenState

log = logging.getLogger(__name__)

UNREADABLE_KEPT_BYTES = 1024


class Seen(Protocol):
    """The table, as refine needs it."""

    memory: SeenState

    async def record(self, origin: Origin, decision: Decision) -> None:
        """Make a decision last, or raise Outage."""
        ...

    async def drop_partition(self, partition: int) -> None:
        """Forget a partition's decisions for good, or raise Outage."""
        ...


class Emit(Protocol):
    """Sends one record and waits until Kafka has it, or raises Outage."""

    async def __call__(
        self, topic: str, value: bytes, *, partition: int, headers: list[tuple[str, bytes]]
    ) -> None:
        """Send it to `topic` and `partition`."""
        ...


class Examined(NamedTuple):
    """A chunk after parse and validate."""

    candidates: dict[int, Candidate]
    rejections: dict[int, Rejection]
    disagreeing: int
    """Messages whose payload repeats tenant, agent or metric otherwise than their topic."""


class Refinery:
    """The agent's work on one record of metrics.raw."""

    def __init__(
        self,
        settings: Settings,
        *,
        seen: Seen,
        tenants: Tenants,
        emit: Emit,
        statistics: Statistics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._seen = seen
        self._tenants = tenants
        self._emit = emit
        self._statistics = statistics
        self._clock = clock

    async def refine(self, record: Record) -> None:
        """Take one chunk to metrics.unique and metrics.rejected.

        Raises:
            Outage: if Kafka or the tenants' database is away; nothing is decided by that.
            Displaced: if the coordinate belongs to an earlier life of metrics.raw.
        """
        origin = Origin(record.partition, record.offset)
        last_offset = self._seen.memory.partition(origin.partition).last_offset
        if last_offset is not None and origin.offset < last_offset:
            return  # decided and emitted, or the later decision would not stand
        decision = self._seen.memory.decision(origin)
        if decision is None:
            await self._first_time(origin, record)
        else:
            await self._again(origin, record.value, decision)

    async def _first_time(self, origin: Origin, record: Record) -> None:
        messages, unreadable = read_chunk(record.value)
        examined = (
            examine(messages, origin, self._settings.max_clock_skew_s)
            if not unreadable
            else Examined({}, unreadable, 0)
        )
        await self._check_tenants(examined)
        decision = self._decide(origin, record, examined)
        await self._seen.record(origin, decision)
        self._count(decision, examined, len(messages))
        await self._emit_all(origin, messages, decision, accepted(examined.candidates, decision.duplicates))

    async def _again(self, origin: Origin, value: bytes, decision: Decision) -> None:
        """Emit what was decided, whatever the tenants and the settings say by now."""
        if decision.digest != digest(value):
            await self._seen.drop_partition(origin.partition)
            raise Displaced(
                "another record was decided on here: metrics.raw was recreated, a new epoch begins"
            )
        messages, _ = read_chunk(value)
        settled = {refusal.index for refusal in decision.refusals} | set(decision.duplicates)
        examined = examine(messages, origin, math.inf, skip=settled)
        if examined.rejections:
            # Only a change of the rules between two versions does that: then what was accepted is explained.
            log.error(
                "%d messages of chunk %s were accepted and are no longer valid",
                len(examined.rejections),
                origin,
            )
            decision = msgspec.structs.replace(decision, refusals=[*decision.refusals, *_refusals(examined)])
        await self._emit_all(origin, messages, decision, list(examined.candidates.values()))

    async def _check_tenants(self, examined: Examined) -> None:
        """Turn the candidates of unknown tenants into rejections."""
        candidates = examined.candidates
        asked = {candidate.reading.tenant_id for candidate in candidates.values()}
        unknown = asked - await self._tenants.known(asked) if asked else set()
        for index in [i for i, candidate in candidates.items() if candidate.reading.tenant_id in unknown]:
            examined.rejections[index] = tenant_unknown(candidates.pop(index).reading.tenant_id)

    def _decide(self, origin: Origin, record: Record, examined: Examined) -> Decision:
        now = self._clock()
        state = self._seen.memory.partition(origin.partition)
        verdict = dedupe(examined.candidates, state, now - self._settings.dedupe_window_s)
        # A partition without decisions begins an epoch: were its raw log or its table recreated, the fence
        # of the old epoch must not hold back the new one's offsets. The record names it, not the clock, so
        # that two workers that both take the first record for theirs name the same one.
        epoch = state.last.epoch if state.last is not None else max(record.timestamp_ms, state.first_epoch)
        return Decision(
            FORMAT,
            epoch,
            now,
            digest(record.value),
            verdict.duplicates,
            _refusals(examined),
            verdict.fingerprints,
        )

    def _count(self, decision: Decision, examined: Examined, messages: int) -> None:
        counts = self._statistics.messages
        counts["refined"] += messages
        counts["duplicate"] += len(decision.duplicates)
        counts["accepted"] += len(examined.candidates) - len(decision.duplicates)
        counts["rejected"] += len(decision.refusals)
        self._statistics.rejected.update(refusal.reason for refusal in decision.refusals)
        self._statistics.notes["payload_disagrees"] += examined.disagreeing

    async def _emit_all(
        self, origin: Origin, messages: Sequence[Message], decision: Decision, candidates: list[Candidate]
    ) -> None:
        readings = [candidate.reading for candidate in candidates]
        if readings:
            await self._emit(
                self._settings.unique_topic,
                unique.encode(origin, readings),
                partition=origin.partition,
                headers=headers(len(readings), epoch=str(decision.epoch)),
            )
        for (stage, reason), group in by_reason(messages, decision.refusals).items():
            await self._emit(
                self._settings.rejected_topic,
                rejected.encode(origin, stage, reason, group),
                partition=origin.partition,
                headers=headers(len(group), stage=stage, reason=reason),
            )


def _refusals(examined: Examined) -> list[Refusal]:
    return [
        Refusal(index, rejection.stage, rejection.reason, rejection.detail)
        for index, rejection in sorted(examined.rejections.items())
    ]


def read_chunk(value: bytes) -> tuple[list[Message], dict[int, Rejection]]:
    """Decode a raw record; one that is no chunk becomes a single rejected message with its beginning."""
    try:
        return raw.decode(value), {}
    except MalformedRecord as error:
        log.error("a record of metrics.raw is no chunk and goes to metrics.rejected: %s", error)
        beginning = value[:UNREADABLE_KEPT_BYTES].decode(errors="replace")
        message = Message(topic="", payload=beginning, size_bytes=len(value))
        return [message], {0: Rejection(Stage.PARSE, Reason.INTERNAL_ERROR, f"not a chunk: {error}")}


def examine(
    messages: Sequence[Message],
    origin: Origin,
    max_clock_skew_s: float,
    skip: frozenset[int] | set[int] = frozenset(),
) -> Examined:
    """Run parse and validate over a chunk; a bug on one message rejects that message alone."""
    candidates: dict[int, Candidate] = {}
    rejections: dict[int, Rejection] = {}
    disagreeing = 0
    for index, message in enumerate(messages):
        if index in skip:
            continue
        stage, disagrees = Stage.PARSE, False
        try:
            parsed = parse(message)
            if isinstance(parsed, Rejection):
                outcome: Candidate | Rejection = parsed
            else:
                stage, disagrees = Stage.VALIDATE, parsed.disagrees
                outcome = validate(parsed, origin, index, message.received_at, max_clock_skew_s)
        except Exception as bug:
            # The one place where a bug becomes a rejection: nothing a device sends may hold up its partition.
            log.exception("a bug on message %d of chunk %d-%d", index, origin.partition, origin.offset)
            outcome = Rejection(stage, Reason.INTERNAL_ERROR, last_line(bug))
        if isinstance(outcome, Candidate):
            candidates[index] = outcome
            disagreeing += disagrees
        else:
            rejections[index] = outcome
    return Examined(candidates, rejections, disagreeing)


def last_line(bug: BaseException) -> str:
    """Return the last line of an exception's traceback."""
    return traceback.format_exception_only(bug)[-1].strip()


def by_reason(
    messages: Sequence[Message], refusals: Sequence[Refusal]
) -> dict[tuple[Stage, Reason], list[RejectedMessage]]:
    """Group a chunk's rejected messages, each as it came, by stage and reason.

    A refusal of a message that the chunk does not have stands for nothing and is left out: it can only come
    from a row of the changelog that somebody else wrote.
    """
    groups: dict[tuple[Stage, Reason], list[RejectedMessage]] = {}
    for refusal in refusals:
        if refusal.index >= len(messages):
            continue
        message = messages[refusal.index]
        groups.setdefault((refusal.stage, refusal.reason), []).append(
            RejectedMessage(
                index=refusal.index,
                topic=message.topic,
                payload=message.payload,
                payload_base64=message.payload_base64,
                received_at=message.received_at,
                qos=message.qos,
                size_bytes=message.size_bytes,
                detail=refusal.detail,
            )
        )
    return groups


seen = SeenTable(
    app,
    memory=SeenState(window_s=settings.dedupe_window_s, max_ids=settings.dedupe_max_ids),
    name=SEEN_TABLE,
    partitions=settings.topic_partitions,
    extra_topic_configs={"cleanup.policy": "compact"},
)
directory = TenantDirectory.from_settings(settings, statistics)
refinery = Refinery(settings, seen=seen, tenants=directory, emit=partial(deliver, app), statistics=statistics)

app.tables.add(seen)
app.position_sources[settings.raw_topic] = SeenPositions(seen)
app.use(directory, probe=directory.check, part="postgres")


@app.agent(raw_bytes(app, settings.raw_topic), isolated_partitions=True, name="refine")
async def refine(stream: StreamT[bytes]) -> None:
    """Parse, validate and dedupe metrics.raw into metrics.unique and metrics.rejected."""
    await carry(stream, app.deliverer, refinery.refine, statistics)
