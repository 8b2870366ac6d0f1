"""Claims that several targets hold their findings to."""

import math
import re
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from streams.ingest.rows import PHP_EMPTY, rows_of, stamped
from streams.laravel import broadcast as publication
from streams.laravel.job import JobMetric, decode_job, encode_job
from streams.models import FIELDS, Reading
from tests.golden.jobs import JOB_ID, UUID

NOW = "2026-11-23 14:00:00.000000"
EARLIEST, LATEST = datetime(1970, 1, 1, 0, 0, 1), datetime(2038, 1, 19, 3, 14, 8)  # noqa: DTZ001 - a column without zone
LARGEST = 999_999_999_999.99
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}")


def finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine between fakes returns: it waits for nothing, so it needs no event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("it waits for something, though everything around it is a fake")


def is_storable(text: str) -> bool:
    """Tell whether PostgreSQL's text holds it."""
    with suppress(UnicodeEncodeError):
        return "\0" not in text and text.encode().decode() == text
    return False


def fits_the_tables(reading: Reading) -> None:
    """Every column behind the job takes what was accepted."""
    assert 0 < len(reading.agent_id) <= 64
    assert 0 < len(reading.metric_name) <= 64
    assert reading.dedupe_id is None or 0 < len(reading.dedupe_id) <= 128
    assert re.fullmatch("[0-9a-f]{32}", reading.key)
    assert math.isfinite(reading.value)
    assert -LARGEST <= reading.value <= LARGEST
    assert str(reading.value) != "-0.0"
    assert TIMESTAMP.fullmatch(reading.timestamp)
    at = datetime.strptime(reading.timestamp, "%Y-%m-%d %H:%M:%S.%f")  # noqa: DTZ007 - a column without zone
    assert EARLIEST <= at < LATEST
    for text in filter(None, (getattr(reading, name) for name in ("tenant_id", *FIELDS))):
        assert not isinstance(text, str) or is_storable(text), text
    assert reading.dedupe_id not in PHP_EMPTY[1:]


def runs_as_a_job(tenant_id: str, metrics: Sequence[JobMetric]) -> None:
    """A job of the metrics comes back equal, becomes rows and can be published."""
    job = decode_job(encode_job(tenant_id, metrics, UUID, JOB_ID))
    assert (job.tenant_id, job.metrics) == (tenant_id, list(metrics))
    assert [type(metric.value) for metric in job.metrics] == [type(metric.value) for metric in metrics]
    filled = stamped(job, NOW)
    upserts, inserts = rows_of([filled])
    assert len(upserts) == len({row.metric.dedupe_id for row in upserts})
    assert len(inserts) == sum(metric.dedupe_id in PHP_EMPTY for metric in metrics)
    published = publication.decode(publication.encode(filled.metrics))
    # As floats: PHP writes a large one without its exponent, so that it reads as an integer beside it.
    assert [(one.agent_id, one.metric_name, float(one.value)) for one in published] == [
        (one.agent_id, one.metric_name, float(one.value)) for one in metrics
    ]
