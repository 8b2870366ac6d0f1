"""The third step of refine: drop what was seen within the window with the same content.

Pure. The same id with changed content goes on and replaces the row, as the job's upsert would, so the
database ends up as it would without this step, whatever the order of arrival.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from streams.models import Candidate
from streams.wire.decision import Decision, First
from tables.state import LAST_INDEX, firsts_of


class SeenIds(Protocol):
    """What a partition remembers."""

    def known(self, ids: Iterable[bytes], horizon: float) -> dict[bytes, bytes]:
        """Return the content with which each of those ids was accepted last that were since `horizon`."""
        ...


class OrderedSeenIds(SeenIds, Protocol):
    """What a partition remembers, with the order of arrival."""

    def accepted_at(self, ids: Iterable[bytes]) -> dict[bytes, First]:
        """Return where the message stood first with which each of those ids was accepted last."""
        ...


class Overlay:
    """What a partition remembers, and what chunks accepted that are decided on together with the next one."""

    def __init__(self, seen: OrderedSeenIds) -> None:
        self._seen = seen
        self._contents: dict[bytes, bytes] = {}
        self._decisions: list[tuple[int, Decision]] = []

    def known(self, ids: Iterable[bytes], horizon: float) -> dict[bytes, bytes]:
        """Return the content with which each of those ids was accepted last that were since `horizon`."""
        if not self._contents:
            return self._seen.known(ids, horizon)
        asked = list(ids)
        contents = self._contents
        return self._seen.known(asked, horizon) | {id_: contents[id_] for id_ in asked if id_ in contents}

    def accepted_at(self, ids: Iterable[bytes]) -> dict[bytes, First]:
        """Return where the message stood first with which each of those ids was accepted last."""
        asked = set(ids)
        found = self._seen.accepted_at(asked)
        for offset, decision in self._decisions:
            firsts = firsts_of(decision)
            for id_, _ in decision.pairs():
                if id_ in asked:
                    found[id_] = firsts.get(id_, (decision.epoch, offset, LAST_INDEX))
        return found

    def accept(self, offset: int, decision: Decision) -> None:
        """Take in what was decided on the chunk at an offset."""
        self._contents.update(decision.pairs())
        self._decisions.append((offset, decision))


class DedupeResult(NamedTuple):
    """What dedupe found in one chunk."""

    duplicates: list[int]
    fingerprints: bytes
    """Of the accepted readings that have an id, packed."""
    firsts: list[First] = []  # noqa: RUF012 - never changed
    """Of a replay: where the message of each fingerprint stood first."""


def dedupe(
    candidates: Mapping[int, Candidate], seen: SeenIds, horizon: float, *, stale: bool = False
) -> DedupeResult:
    """Tell which of a chunk's candidates, by index and in order, are duplicates.

    Args:
        candidates: by index in the chunk, in its order.
        seen: what the partition accepted before this chunk.
        horizon: Unix time in seconds at which the window begins.
        stale: the chunk is a former leader's that landed late (`is_stale`): an id that was accepted
            before is a duplicate whatever its content, since what came later must stand.
    """
    ids = [candidate.id for candidate in candidates.values() if candidate.id is not None]
    contents = seen.known(ids, horizon)
    if stale:
        return _dedupe_stale(candidates, contents)
    return _dedupe(candidates, contents)


def _dedupe_stale(candidates: Mapping[int, Candidate], contents: dict[bytes, bytes]) -> DedupeResult:
    late = [index for index, candidate in candidates.items() if candidate.id in contents]
    # Among themselves the others are in the order of their arrival, as in any chunk.
    verdict = _dedupe({i: one for i, one in candidates.items() if one.id not in contents}, contents)
    return DedupeResult(sorted([*late, *verdict.duplicates]), verdict.fingerprints)


def _dedupe(candidates: Mapping[int, Candidate], contents: dict[bytes, bytes]) -> DedupeResult:
    """Tell the duplicates, given the content with which each id was accepted last."""
    duplicates: list[int] = []
    packed: list[bytes] = []
    for index, candidate in candidates.items():
        if candidate.id is None:
            continue
        if contents.get(candidate.id) == candidate.content:
            duplicates.append(index)
            continue
        contents[candidate.id] = candidate.content
        packed += (candidate.id, candidate.content)
    return DedupeResult(duplicates, b"".join(packed))


def dedupe_replay(
    candidates: Mapping[int, Candidate], firsts: Mapping[int, First], accepted_at: Mapping[bytes, First]
) -> DedupeResult:
    """Tell the duplicates of a chunk that holds what was rejected before.

    A message goes on only if none that came after it has its id, and none that is this very message: so what
    is put back replaces no newer value, however late that is, and putting it back twice changes nothing.

    Args:
        candidates: by index in the chunk, in its order.
        firsts: where each was first.
        accepted_at: where the messages stood first with which their ids were accepted last.
    """
    latest = dict(accepted_at)
    duplicates: list[int] = []
    packed: list[bytes] = []
    kept: list[First] = []
    for index, candidate in candidates.items():
        id_, first = candidate.id, firsts[index]
        if id_ is None:
            continue
        if id_ in latest and latest[id_] >= first:
            duplicates.append(index)
            continue
        latest[id_] = first
        packed += (id_, candidate.content)
        kept.append(first)
    return DedupeResult(duplicates, b"".join(packed), kept)


def is_stale(term: int, highest: int) -> bool:
    """Tell whether a chunk was written under an earlier leadership than one before it in its partition.

    Its messages at QoS 1 and 2 were not acknowledged to the MQTT broker when the successor's connection took
    over the session, so the successor has carried them as well. A term could be wrong all the same, so such a
    chunk is not skipped: dedupe accepts what it does not know, and only what it knows stays as it is.

    Args:
        term: of the chunk (`streams.wire.headers.read_term`); 0 where it does not tell, as chunks of older
            versions and those that several workers of an MQTT share group write side by side.
        highest: the highest term of the chunks before it in its partition; 0 where none tells.
    """
    return 0 < term < highest


def accepted(candidates: Mapping[int, Candidate], duplicates: Iterable[int]) -> list[Candidate]:
    """Return the candidates that go on, in order."""
    dropped = set(duplicates)
    return [candidate for index, candidate in candidates.items() if index not in dropped]
