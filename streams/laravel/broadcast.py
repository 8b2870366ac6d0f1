"""What is published when a job is done, for the tenant's live view: its metrics, by PHP's ``json_encode``.

    [{"agent_id":"edge-7","metric_name":"cpu","value":42.17,"timestamp":"2026-11-23 14:00:00.123456"}]

Written by ``ingest`` as the job does; an SSE endpoint of the application passes it on to browsers.
"""

from collections.abc import Sequence
from typing import Any, get_type_hints

import msgspec

from streams.errors import MalformedRecord
from streams.laravel import php_json
from streams.models import FURTHER, PUBLISHED, JobMetric, members_of

_types = get_type_hints(JobMetric)
PublishedMetric: Any = msgspec.defstruct(
    "PublishedMetric",
    [(name, _types[name], None) if name in FURTHER else (name, _types[name]) for name in PUBLISHED],
    frozen=True,
    gc=False,
)
"""One metric as subscribers see it."""

_decoder = msgspec.json.Decoder(list[PublishedMetric])


def encode(metrics: Sequence[JobMetric]) -> bytes:
    """Return the message to publish."""
    return php_json.encode([members_of(metric, PUBLISHED) for metric in metrics]).encode()


def decode(message: bytes) -> list[Any]:
    """Read a published message, as a list of `PublishedMetric`.

    Raises:
        MalformedRecord: if it is none.
    """
    try:
        found: list[Any] = _decoder.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a publication of metrics: {error}") from error
    return found
