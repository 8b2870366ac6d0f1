"""What becomes of a chunk's messages: look up, examine, ask for tenants, decide; once each, in that order.

Between refine and the pure steps. Nothing here makes a decision last.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from agents.dedupe import DedupeResult, Overlay, accepted, dedupe, dedupe_replay, is_stale
from agents.examine import Examined, begun, go_on, read_chunk
from agents.validate import tenant_unknown
from streams.database.tenants import Tenants
from streams.errors import PositionMoved
from streams.kafka.record_loop import Record
from streams.models import Candidate, Message, Origin
from streams.rules.timestamp import EARLIEST
from streams.settings import Settings
from streams.wire.decision import FORMAT, Decision, First, Refusal, digest
from streams.wire.headers import is_replay, read_over_quota, read_term
from tables.state import PartitionState, SeenState

log = logging.getLogger(__name__)

NO_CHUNK = "%s[%d] offset %d goes to %s as it is: %s. Look who else writes to this topic"


class DecisionStore(Protocol):
    """The table of decisions, as it is asked here."""

    memory: SeenState


class DecidedChunk(NamedTuple):
    """A chunk and what becomes of its messages."""

    origin: Origin
    messages: Sequence[Message]
    decision: Decision
    accepted: list[Candidate]
    disagreeing: int
    is_new: bool
    """Whether the decision is still to be recorded."""
    is_stale: bool = False
    """Whether a former leader of ingress wrote the chunk."""


@dataclass(slots=True)
class _Pending:
    """A chunk on its way to a decision."""

    record: Record
    decision: Decision | None
    """What was decided about it before."""
    is_new: bool
    """Whether that is still to be recorded."""
    examined: Examined = field(init=False)


class Attempts:
    """Decisions that the changelog may have or not, since recording them has failed.

    A retry makes the same decisions last, whatever tenants and the time say by then. Were they made anew, one
    that was made together with them, and has landed, could call a message the duplicate of one that is
    refused now.
    """

    def __init__(self) -> None:
        self._decisions: dict[int, dict[int, Decision]] = {}

    def begin(self, partition: int, chunks: Iterable[DecidedChunk]) -> None:
        """Keep what is about to be recorded."""
        self._decisions[partition] = {chunk.origin.offset: chunk.decision for chunk in chunks}

    def succeed(self, partition: int) -> None:
        """Forget what has been recorded."""
        del self._decisions[partition]

    def find(self, record: Record) -> Decision | None:
        """Return what was decided about this very record."""
        decision = self._decisions.get(record.partition, {}).get(record.offset)
        return decision if decision is not None and decision.digest == digest(record.value) else None


class Decider:
    """Decides on chunks of one worker's partitions.

    Args:
        settings: of the application.
        seen: the decisions that were made.
        tenants: asked for those that are unknown.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self, settings: Settings, *, seen: DecisionStore, tenants: Tenants, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._earliest = settings.earliest  # worked out once
        self._seen = seen
        self._tenants = tenants
        self._clock = clock
        self.attempts = Attempts()

    async def decide(self, records: Sequence[Record]) -> list[DecidedChunk]:
        """Say of each chunk what becomes of it; what was decided before stands, whatever holds by now.

        Raises:
            Outage: if the tenants' database is away.
            PositionMoved: if a decision is about another record: the raw log is not the one that was decided
                on.
        """
        state = self._seen.memory.partition(records[0].partition)
        chunks = self._look_up(records, state)
        for chunk in chunks:
            await self._examine(chunk)
        await self._check_tenants([chunk.examined for chunk in chunks if chunk.decision is None])
        return self._decide_all(chunks, state)

    def _look_up(self, records: Sequence[Record], state: PartitionState) -> list[_Pending]:
        """Return the chunks that are not settled, each with the decision that was made about it."""
        # What lies before was emitted, or the later decision would not stand.
        settled_below = state.settled_below or 0
        chunks: list[_Pending] = []
        for record in records:
            if record.offset < settled_below:
                continue
            recorded = state.unsettled.get(record.offset)
            decision = recorded or self.attempts.find(record)
            if decision is not None and decision.digest != digest(record.value):
                raise PositionMoved("another record was decided on here")
            chunks.append(_Pending(record, decision, is_new=recorded is None))
        return chunks

    async def _examine(self, chunk: _Pending) -> None:
        """Read a chunk, and run parse and validate over those of its messages that are to be looked at."""
        record, decision = chunk.record, chunk.decision
        origin = Origin(record.partition, record.offset)
        messages, unreadable = read_chunk(record.value)
        skip: set[int] | frozenset[int]
        if decision is not None:
            # What was accepted then is accepted: clocks and settings have no say in it any more.
            skip = {refusal.index for refusal in decision.refusals} | set(decision.duplicates)
            chunk.examined, skew_s, earliest = Examined(messages, {}, {}), math.inf, EARLIEST
        else:
            if unreadable:
                topic, goes_to = self._settings.raw_topic, self._settings.rejected_topic
                log.error(NO_CHUNK, topic, record.partition, record.offset, goes_to, unreadable[0].detail)
                chunk.examined = Examined(messages, {}, unreadable, 0, len(messages))
                return
            chunk.examined = begun(messages, read_over_quota(record.headers))
            skip, earliest = chunk.examined.over_quota, self._earliest
            skew_s = self._settings.max_clock_skew_s
        go_on(chunk.examined, origin, skew_s, skip, earliest)
        while not chunk.examined.is_done:
            await asyncio.sleep(0)  # others have a turn
            go_on(chunk.examined, origin, skew_s, skip, earliest)

    async def _check_tenants(self, chunks: Sequence[Examined]) -> None:
        """Turn the candidates of unknown tenants into rejections."""
        # For all chunks at once: one question to PostgreSQL, and most often none.
        asked = {candidate.reading.tenant_id for chunk in chunks for candidate in chunk.candidates.values()}
        unknown = asked - await self._tenants.known(asked) if asked else set()
        for chunk in chunks if unknown else ():
            candidates = chunk.candidates
            for index in [i for i, one in candidates.items() if one.reading.tenant_id in unknown]:
                chunk.rejections[index] = tenant_unknown(candidates.pop(index).reading.tenant_id)

    def _decide_all(self, chunks: Sequence[_Pending], state: PartitionState) -> list[DecidedChunk]:
        """Decide in order: each chunk may hold duplicates of the one before."""
        overlay, highest = Overlay(state), state.term
        decided: list[DecidedChunk] = []
        for chunk in chunks:
            if chunk.decision is not None:
                # Even where tenants and settings say otherwise by now: part of it may have been emitted.
                one = self._as_decided(chunk, chunk.decision)
            else:
                headers = chunk.record.headers
                # Of a replay the term tells nothing: it is there for those that look at the end of the log.
                term = 0 if is_replay(headers) else read_term(headers)
                stale, highest = is_stale(term, highest), max(term, highest)
                unsettled = chunk.record.offset - chunks[0].record.offset
                one = self._decide(chunk, overlay, state, unsettled=unsettled, term=highest, stale=stale)
            # What was recorded is in the state already; a chunk alone has none behind it.
            if one.is_new and len(chunks) > 1:
                overlay.accept(chunk.record.offset, one.decision)
            decided.append(one)
        return decided

    def _decide(
        self,
        chunk: _Pending,
        seen: Overlay,
        state: PartitionState,
        *,
        unsettled: int,
        term: int,
        stale: bool,
    ) -> DecidedChunk:
        record, examined = chunk.record, chunk.examined
        now = self._clock()
        horizon = self._seen.memory.timeline.at(now) - self._settings.dedupe_window_s
        if is_replay(record.headers):
            result = _dedupe_replay(record, examined, seen, state.epoch)
        else:
            result = dedupe(examined.candidates, seen, horizon, stale=stale)
        decision = Decision(
            FORMAT,
            state.epoch,
            now,
            digest(record.value),
            result.duplicates,
            _refusals(examined),
            result.fingerprints,
            unsettled,
            state.last_emitted,
            term,
            result.firsts,
        )
        kept = accepted(examined.candidates, result.duplicates)
        origin = Origin(record.partition, record.offset)
        return DecidedChunk(
            origin, examined.messages, decision, kept, examined.disagreeing, is_new=True, is_stale=stale
        )

    def _as_decided(self, chunk: _Pending, decision: Decision) -> DecidedChunk:
        """Return what was decided before."""
        record, examined = chunk.record, chunk.examined
        origin = Origin(record.partition, record.offset)
        if examined.rejections:
            # Only a change of the rules between two versions does that: then what was accepted is explained.
            log.error(
                "%d messages of the chunk %s[%d] offset %d were accepted by another version, whose rules "
                "this one does not share: they are rejected now",
                len(examined.rejections),
                self._settings.raw_topic,
                origin.partition,
                origin.offset,
            )
            decision = msgspec.structs.replace(decision, refusals=[*decision.refusals, *_refusals(examined)])
        kept = list(examined.candidates.values())
        return DecidedChunk(
            origin, examined.messages, decision, kept, examined.disagreeing, is_new=chunk.is_new
        )


def _dedupe_replay(record: Record, examined: Examined, seen: Overlay, epoch: int) -> DedupeResult:
    candidates, messages = examined.candidates, examined.messages
    firsts: dict[int, First] = {}
    for index in candidates:
        first = messages[index].first
        firsts[index] = (epoch, record.offset, index) if first is None else first.order
    ids = [candidate.id for candidate in candidates.values() if candidate.id is not None]
    return dedupe_replay(candidates, firsts, seen.accepted_at(ids))


def _refusals(examined: Examined) -> list[Refusal]:
    return [
        Refusal(index, rejection.stage, rejection.reason, rejection.detail)
        for index, rejection in sorted(examined.rejections.items())
    ]
