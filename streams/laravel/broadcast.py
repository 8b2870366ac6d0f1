"""What is published when a job is done, for the tenant's live view: its metrics, by PHP's ``json_encode``.

    [{"agent_id":"edge-7","metric_name":"cpu","value":42.17,"timestamp":"2026-11-23 14:00:00.123456"}]

Written by ``ingest`` as the job does; an SSE endpoint of the application passes it on to browsers.
"""

from collections.abc import Sequence

import msgspec

from streams.errors import MalformedRecord
from streams.laravel import php_json
from streams.laravel.job import JobMetric


class PublishedMetric(msgspec.Struct, frozen=True, gc=False):
    """One metric as subscribers see it."""

    agent_id: str | int
    metric_name: str | int
    value: int | float | str
    timestamp: str | None


_decoder = msgspec.json.Decoder(list[PublishedMetric])


def encode(metrics: Sequence[JobMetric]) -> bytes:
    """Return the message to publish."""
    return php_json.encode(
        [
            {
                "agent_id": metric.agent_id,
                "metric_name": metric.metric_name,
                "value": metric.value,
                "timestamp": metric.timestamp,
            }
            for metric in metrics
        ]
    ).encode()


def decode(message: bytes) -> list[PublishedMetric]:
    """Read a published message.

    Raises:
        MalformedRecord: if it is none.
    """
    try:
        return _decoder.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a publication of metrics: {error}") from error
