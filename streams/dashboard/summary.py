"""What a worker tells the others of itself once a second, and how it is written. Pure.

Between the samplers of all workers of a group: each shows what the others have told. One line of JSON, some
kilobytes whatever devices and tenants do; a field that a version does not know is skipped, one that it misses
has its default.
"""

from typing import NamedTuple

import msgspec

from streams.dashboard.refused import Example
from streams.errors import MalformedRecord

TENANTS_TOLD = 12


class PartSeen(msgspec.Struct, frozen=True):
    """How a part fares, as one worker sees it."""

    up: bool
    detail: str = ""
    since: float = 0.0
    """Unix time in seconds of the last change of `up`."""


class TenantSeen(msgspec.Struct, frozen=True):
    """How much a tenant sends, as one worker sees it."""

    id: str
    per_s: float
    total: int
    last: float
    """Unix time in seconds."""


class WorkerSummary(msgspec.Struct, frozen=True):
    """One worker."""

    id: str
    """Host and process."""
    version: str = ""
    started_at: float = 0.0
    """Unix time in seconds."""
    leads: bool = False
    """Whether it carries MQTT."""
    partitions: dict[str, int] = {}
    """How many it holds, by topic."""
    rates: dict[str, float] = {}
    """Messages a second, by stage; of rejections also by reason, as ``rejected:value_missing``."""
    lag: dict[str, int] | None = None
    """Records behind, by topic; None while that is not known."""
    behind_s: float = 0.0
    """The age of the oldest record that was fetched and not handled."""
    latency_s: dict[str, float] = {}
    """From arrival to the job, of late, by percentile as ``p95``."""
    parts: dict[str, PartSeen] = {}
    tenants: list[TenantSeen] = []
    unknown_tenants: list[TenantSeen] = []
    examples: dict[str, list[Example]] = {}
    """Of rejected messages, by reason."""


class Peer(NamedTuple):
    """Another worker, as it was heard of last."""

    summary: WorkerSummary
    silent_s: float
    """Seconds since it has told anything new, on this worker's clock."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WorkerSummary)


def encode(summary: WorkerSummary) -> bytes:
    """Return it as it is told."""
    return _encoder.encode(summary)


def decode(told: bytes) -> WorkerSummary:
    """Read it.

    Raises:
        MalformedRecord: if it is none.
    """
    try:
        return _decoder.decode(told)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a worker's summary: {error}") from error
