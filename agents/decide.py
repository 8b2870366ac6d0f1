"""What becomes of the messages of a chunk: examine, ask for tenants, dedupe; or what was decided before.

Between refine and the pure steps. Nothing here makes a decision last.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from agents.dedupe import DedupeResult, Overlay, accepted, dedupe, dedupe_replay
from agents.examine import Examined, begun, go_on, read_chunk
from agents.stale import is_stale
from agents.validate import tenant_unknown
from streams.database.tenants import Tenants
from streams.errors import PositionMoved
from streams.kafka.record_loop import Record
from streams.models import Candidate, Message, Origin
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
    """Judges chunks of one worker's partitions.

    Args:
        settings: of the application.
        seen: the decisions that stand.
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

    async def judge(self, records: Sequence[Record]) -> list[DecidedChunk]:
        """Say of each chunk what becomes of it; what was decided before stands, whatever holds by now.

        Raises:
            Outage: if the tenants' database is away.
            Displaced: if a decision is about another record: the raw log is not the one that was decided on.
        """
        partition = records[0].partition
        state = self._seen.memory.partition(partition)
        settled_below = state.settled_below or 0
        # What lies before was emitted, or the later decision would not stand.
        records = [record for record in records if record.offset >= settled_below]
        standing = {
            record.offset: decision
            for record in records
            if (decision := state.unsettled.get(record.offset) or self.attempts.find(record)) is not None
        }
        examined: list[Examined | None] = []
        for record in records:
            each = None if record.offset in standing else self._begin(record)
            while each is not None and not each.is_done:
                await asyncio.sleep(0)  # others have a turn
                self._go_on(each, record)
            examined.append(each)
        await self._check_tenants([each for each in examined if each is not None])
        together = Overlay(state)
        chunks: list[DecidedChunk] = []
        highest = state.term
        for record, each in zip(records, examined, strict=True):
            if each is None:
                is_new = record.offset not in state.unsettled
                chunk = await self._again(record, standing[record.offset], is_new=is_new)
            else:
                unsettled = record.offset - records[0].offset
                # Of a replay the term tells nothing: it is there for those that look at the end of the log.
                term = 0 if is_replay(record.headers) else read_term(record.headers)
                stale, highest = is_stale(term, highest), max(term, highest)
                chunk = self._decide(
                    record, each, together, state, unsettled=unsettled, term=highest, stale=stale
                )
            if chunk.is_new and len(records) > 1:
                together.accept(record.offset, chunk.decision)
            chunks.append(chunk)
        return chunks

    def _begin(self, record: Record) -> Examined:
        messages, unreadable = read_chunk(record.value)
        if unreadable:
            topic, goes_to = self._settings.raw_topic, self._settings.rejected_topic
            log.error(NO_CHUNK, topic, record.partition, record.offset, goes_to, unreadable[0].detail)
            return Examined(messages, {}, unreadable, 0, len(messages))
        examined = begun(messages, read_over_quota(record.headers))
        self._go_on(examined, record)
        return examined

    def _go_on(self, examined: Examined, record: Record) -> None:
        origin, skew_s = Origin(record.partition, record.offset), self._settings.max_clock_skew_s
        go_on(examined, origin, skew_s, examined.over_quota, self._earliest)

    def _decide(
        self,
        record: Record,
        examined: Examined,
        seen: Overlay,
        state: PartitionState,
        *,
        unsettled: int,
        term: int,
        stale: bool,
    ) -> DecidedChunk:
        now = self._clock()
        horizon = self._seen.memory.timeline.at(now) - self._settings.dedupe_window_s
        if is_replay(record.headers):
            verdict = _dedupe_replay(record, examined, seen, state.epoch)
        else:
            verdict = dedupe(examined.candidates, seen, horizon, stale=stale)
        decision = Decision(
            FORMAT,
            state.epoch,
            now,
            digest(record.value),
            verdict.duplicates,
            _refusals(examined),
            verdict.fingerprints,
            unsettled,
            state.last_emitted,
            term,
            verdict.firsts,
        )
        kept = accepted(examined.candidates, verdict.duplicates)
        origin = Origin(record.partition, record.offset)
        return DecidedChunk(
            origin, examined.messages, decision, kept, examined.disagreeing, is_new=True, is_stale=stale
        )

    async def _again(self, record: Record, decision: Decision, *, is_new: bool) -> DecidedChunk:
        """Return what was decided, if it was about this very record."""
        if decision.digest != digest(record.value):
            raise PositionMoved("another record was decided on here")
        origin = Origin(record.partition, record.offset)
        messages, _ = read_chunk(record.value)
        settled = {refusal.index for refusal in decision.refusals} | set(decision.duplicates)
        examined = Examined(messages, {}, {})
        go_on(examined, origin, math.inf, settled)
        while not examined.is_done:
            await asyncio.sleep(0)  # others have a turn
            go_on(examined, origin, math.inf, settled)
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
        return DecidedChunk(origin, messages, decision, kept, examined.disagreeing, is_new=is_new)

    async def _check_tenants(self, chunks: Sequence[Examined]) -> None:
        """Turn the candidates of unknown tenants into rejections."""
        asked = {candidate.reading.tenant_id for chunk in chunks for candidate in chunk.candidates.values()}
        unknown = asked - await self._tenants.known(asked) if asked else set()
        for chunk in chunks if unknown else ():
            candidates = chunk.candidates
            for index in [i for i, one in candidates.items() if one.reading.tenant_id in unknown]:
                chunk.rejections[index] = tenant_unknown(candidates.pop(index).reading.tenant_id)


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
