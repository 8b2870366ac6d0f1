"""The fence: how far a partition's jobs have been pushed, as Redis holds it beside them. Pure.

In the hash ``{prefix}metric-streams:{topics}:fence``, for partition 3:

    3           4:1841:1702                     epoch, raw and unique offset of the chunk pushed last
    3:proof     1;8812;1702;8c1f2a9e00d4b7f3;2c26b46b68ffc68f.431
                                                format, number of the push, unique offset, digest of the
                                                raw record; writer of the unique record and its number
    3:locator   8800.4.1836.1690.77aa….2c26….419,8768.…
                                                earlier chunks that were pushed, at doubling distances
    3:lost      4:1841:1702;8c1f2a9e00d4b7f3    the chunk at which handoff found another log, and went back
    owner       metric-streams                  the consumer group whose fence it is

A number alone proves no position: Kafka may have been set back, or Redis. So the record of metrics.unique
at the fence is compared with it. Where another one is there, the locator finds the last place that both
histories have in common, and the writers tell what behind it was pushed as well. So no more is pushed again
than about twice what is missing, and nearly always nothing.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

from streams.errors import NewerFormat
from streams.wire.headers import ChainLink

FORMAT = 1
DISTANCE = 2
"""By how much each mark of the locator lies further back than the one before, at most."""
OWNER = "owner"
_WRITTEN_FIELDS = 3
MARK_EVERY = 16
"""So many pushes lie between two marks of the locator at least."""
_LINK = r"([0-9a-f]{1,64})\.([0-9]{1,19})"
_PROOF = re.compile(rf"([0-9]{{1,9}});([0-9]{{1,19}});([0-9]{{1,19}});([0-9a-f]{{16}})?(?:;{_LINK})?")
_MARK = re.compile(4 * r"([0-9]{1,19})\." + rf"([0-9a-f]{{16}})(?:\.{_LINK})?")
_NAME = re.compile(rb"[0-9a-f]{1,64}")
_LOST_DIGEST = re.compile(r"([0-9a-f]{16})?")
_NEWER = re.compile(r"([0-9]{1,9});.*")


class Fence(NamedTuple):
    """The chunk of a partition that was pushed last."""

    epoch: int
    raw_offset: int
    unique_offset: int
    digest: bytes = b""
    """Of its raw record; empty where an older version has pushed it."""
    link: ChainLink | None = None
    """Of its record on metrics.unique; None where that does not tell."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a fence as Redis holds it, without its proof; None for an absent or unreadable one."""
        parts = text.split(":")
        if len(parts) != _WRITTEN_FIELDS or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        epoch, raw_offset, unique_offset = map(int, parts)
        return cls(epoch, raw_offset, unique_offset)

    @classmethod
    def parse_lost(cls, text: str) -> Self | None:
        """Read a fence with its digest, as `lost_text` writes it; None for anything else."""
        fence, _, digest = text.partition(";")
        found = cls.parse(fence)
        if found is None or _LOST_DIGEST.fullmatch(digest) is None:
            return None
        return found._replace(digest=bytes.fromhex(digest))

    @property
    def lost_text(self) -> str:
        """The fence with the digest of its raw record."""
        return f"{self};{self.digest.hex()}"

    def __str__(self) -> str:
        return f"{self.epoch}:{self.raw_offset}:{self.unique_offset}"


class FenceMark(NamedTuple):
    """A chunk that was pushed, and the number of its push."""

    push: int
    epoch: int
    raw_offset: int
    unique_offset: int
    digest: bytes
    link: ChainLink | None = None

    def __str__(self) -> str:
        numbers = f"{self.push}.{self.epoch}.{self.raw_offset}.{self.unique_offset}"
        return f"{numbers}.{self.digest.hex()}" + _written(".", self.link)

    @property
    def fence(self) -> Fence:
        """The fence as it stood then."""
        return Fence(*self[1:])


class FenceState(NamedTuple):
    """All that Redis holds of a partition's fence."""

    fence: Fence | None = None
    push: int = 0
    """The number of the push that has put it there; 0 where none of this version has."""
    locator: tuple[FenceMark, ...] = ()
    """Earlier chunks, the newest first."""

    @classmethod
    def parse(cls, fence: str, proof: str, locator: str) -> Self:
        """Read it as Redis holds it; what cannot be read is as good as absent.

        Raises:
            NewerFormat: if a newer version wrote it.
        """
        push, unique_offset, digest, link = _read_proof(proof)
        marks = tuple(mark for text in locator.split(",") if (mark := _read_mark(text)) is not None)
        found = Fence.parse(fence)
        if (
            found is not None and found.unique_offset == unique_offset
        ):  # else an older version has pushed since
            found = found._replace(digest=digest, link=link)
        return cls(found, push, marks)

    @property
    def marks(self) -> list[Fence]:
        """Where the histories may agree, the newest first: the fence, then the earlier ones."""
        return [*([] if self.fence is None else [self.fence]), *(mark.fence for mark in self.locator)]

    def moved(self, fence: Fence) -> Self:
        """Return what holds once the chunks up to a fence are pushed."""
        push = self.push + 1
        # Without its digest a chunk of an older version could not be told from another one at its place.
        if push % MARK_EVERY or self.fence is None or not self.fence.digest:
            return self._replace(fence=fence, push=push)
        before = FenceMark(self.push, *self.fence)
        return self._replace(fence=fence, push=push, locator=thinned(push, (before, *self.locator)))

    def texts(self) -> tuple[str, str, str]:
        """Return fence, proof and locator as Redis holds them."""
        if self.fence is None:
            return "", "", ""
        proof = f"{FORMAT};{self.push};{self.fence.unique_offset};{self.fence.digest.hex()}"
        return str(self.fence), proof + _written(";", self.fence.link), ",".join(map(str, self.locator))


def thinned(push: int, marks: Sequence[FenceMark]) -> tuple[FenceMark, ...]:
    """Leave out the marks that others nearly stand in for, so that their distances double.

    Args:
        push: the number of the latest push, from which distances count.
        marks: the newest first.
    """
    kept: list[FenceMark] = list(marks[:1])
    for at, mark in enumerate(marks[1:], start=1):
        is_last = at == len(marks) - 1
        if is_last or push - marks[at + 1].push > DISTANCE * max(1, push - kept[-1].push):
            kept.append(mark)
    return tuple(kept)


def _written(separator: str, link: ChainLink | None) -> str:
    if link is None or not _NAME.fullmatch(link.writer):
        return ""
    return f"{separator}{link.writer.decode()}.{link.seq}"


def _read_link(writer: str | None, seq: str | None) -> ChainLink | None:
    return None if writer is None or seq is None else ChainLink(writer.encode(), int(seq))


def _read_proof(text: str) -> tuple[int, int, bytes, ChainLink | None]:
    found = _PROOF.fullmatch(text)
    written = _NEWER.fullmatch(text)
    # Before the rest is read: a newer version may write the rest otherwise.
    if written is not None and int(written[1]) > FORMAT:
        raise NewerFormat("the fence in Redis", int(written[1]), FORMAT)
    if found is None:
        return 0, -1, b"", None
    return int(found[2]), int(found[3]), bytes.fromhex(found[4] or ""), _read_link(found[5], found[6])


def _read_mark(text: str) -> FenceMark | None:
    found = _MARK.fullmatch(text)
    if found is None:
        return None
    push, epoch, raw_offset, unique_offset = map(int, found.groups()[:4])
    return FenceMark(
        push, epoch, raw_offset, unique_offset, bytes.fromhex(found[5]), _read_link(found[6], found[7])
    )
