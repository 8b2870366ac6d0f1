"""The values that travel through the pipeline. Pure: no Faust, sockets, clock or environment.

A device's publication is a `Message`; Kafka gives its chunk an `Origin`; refine takes its `Payload` apart and
turns it into a `Reading` or a `Rejection`, or finds it a duplicate; in the job it is a `JobMetric`.

`FIELDS` is the one list of what a reading says. ARCHITECTURE.md, "To add a field", has the rest.
"""

import base64
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

import msgspec

Integer: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What PHP can hold: a larger one on our topics is nobody's, and could not be handed off."""
Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class FirstPlace(msgspec.Struct, frozen=True, gc=False):
    """Where a message was in ``metrics.raw`` when it came, which a replay keeps."""

    epoch: Integer
    """Of that record; `UNKNOWN_EPOCH` where nothing told."""
    partition: Natural
    offset: Natural
    index: Natural
    replays: Natural = 1
    """How many times it has been put back."""

    @property
    def order(self) -> tuple[int, int, int]:
        """What is greater of the message that came later, of two of one partition."""
        return self.epoch, self.offset, self.index


UNKNOWN_EPOCH = -1

FURTHER: tuple[str, ...] = ()
"""Fields that a device may leave out and that the pipeline only carries: texts of the payload.

One that was not sent stands nowhere, so what is written without it are the bytes of before.
"""
FIELDS = ("agent_id", "metric_name", "value", "timestamp", "dedupe_id", *FURTHER)
"""What a reading says, by the names and in the order of the job and of the row."""
MEMBERS = ("value", "timestamp", "dedupe_id", *FURTHER, "tenant_id", "agent_id", "metric_name")
"""The payload's members that mean something."""
PUBLISHED = tuple(name for name in FIELDS if name != "dedupe_id")
"""What the tenant's live view is told of a row."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One MQTT publication, as it came and as it is in ``metrics.raw``.

    Exactly one of `payload` and `payload_base64` is set; the latter where the bytes are not UTF-8.
    """

    topic: str
    payload: str | None = None
    payload_base64: str | None = None
    received_at: str = ""
    """RFC 3339 with microseconds in UTC: ``2026-11-23T14:00:00.123456Z``."""
    qos: int = 0
    size_bytes: int | None = None
    """The payload's full size, set only where it was cut because it was too large."""
    first: FirstPlace | None = None
    """Set where ``rejected replay`` has put the message back."""

    def payload_bytes(self) -> bytes:
        """Return the payload as the device sent it (its beginning, if it was cut)."""
        if self.payload is not None:
            return self.payload.encode()
        return base64.b64decode(self.payload_base64 or "")


class Origin(msgspec.Struct, frozen=True, order=True, gc=False):
    """A chunk's identity to the end: the coordinate of its record in ``metrics.raw``."""

    partition: Natural
    offset: Natural


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The payload's `MEMBERS` as decoded, nothing of them checked; None where one is absent or null."""

    value: object = None
    timestamp: object = None
    dedupe_id: object = None
    tenant_id: object = None
    agent_id: object = None
    metric_name: object = None


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A valid metric, in the form in which ``metrics.unique`` carries it."""

    index: int
    """The message's place in its chunk; with the `Origin` it is the message's identity."""
    tenant_id: str
    agent_id: str
    metric_name: str
    value: Integer | float
    timestamp: str
    """UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``."""
    dedupe_id: str | None
    """As the device sent it; None where it sent none."""
    key: str
    """32 hex digits that identify the reading: the row's dedupe id where the device sent none."""


class JobMetric(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One metric of a job: one row."""

    agent_id: str | int
    metric_name: str | int
    value: int | float | str
    """A numeric string only where an application dispatched one: it publishes what it was given."""
    timestamp: str | None
    """``2026-11-23 14:00:00.123456``, UTC; None for the time at which the job runs."""
    dedupe_id: str | None


def members_of(metric: JobMetric | Reading, names: Iterable[str] = FIELDS) -> dict[str, Any]:
    """Return what a metric says, by name; of `FURTHER` only what was sent."""
    members = {name: getattr(metric, name) for name in names}
    return {name: value for name, value in members.items() if value is not None or name not in FURTHER}


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A reading that dedupe has still to judge."""

    reading: Reading
    id: bytes | None
    """16 bytes that stand for the row the reading will write; None where the device named no row, so that the
    reading is never a duplicate."""
    content: bytes
    """8 bytes that stand for all else the device sent."""


class Reason(StrEnum):
    """Why a message was rejected. The order is that of the steps; values are public."""

    QUOTA_EXCEEDED = "quota_exceeded"
    TOPIC_MALFORMED = "topic_malformed"
    PAYLOAD_NOT_JSON = "payload_not_json"
    PAYLOAD_NOT_OBJECT = "payload_not_object"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    VALUE_MISSING = "value_missing"
    VALUE_NOT_A_NUMBER = "value_not_a_number"
    VALUE_OUT_OF_RANGE = "value_out_of_range"
    TIMESTAMP_INVALID = "timestamp_invalid"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    AGENT_ID_INVALID = "agent_id_invalid"
    METRIC_NAME_INVALID = "metric_name_invalid"
    DEDUPE_ID_INVALID = "dedupe_id_invalid"
    TENANT_NOT_A_UUID = "tenant_not_a_uuid"
    TENANT_UNKNOWN = "tenant_unknown"
    INTERNAL_ERROR = "internal_error"


class Stage(StrEnum):
    """The step of refine that rejected a message."""

    QUOTA = "quota"
    PARSE = "parse"
    VALIDATE = "validate"
    DEDUPE = "dedupe"


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """Why one message goes to ``metrics.rejected`` instead of on."""

    stage: Stage
    reason: Reason
    detail: str
    """One line for a person: what was found, and what would have been right."""


class RejectedMessage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A message on ``metrics.rejected``: as it came, with its place in the chunk and the detail."""

    index: int
    topic: str
    payload: str | None = None
    payload_base64: str | None = None
    received_at: str = ""
    qos: int = 0
    size_bytes: int | None = None
    detail: str = ""
    first: FirstPlace | None = None
    """As of `Message`: it was rejected before, and put back."""
