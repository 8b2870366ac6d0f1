"""Reads the command within a Laravel job (`streams.laravel.command`), whichever version of Laravel wrote it.

The metrics twice: quickly where they are written as we write them, else value by value.
"""

import math
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from streams.errors import MalformedRecord
from streams.laravel.command import ALWAYS, IDENTIFIER_CLASS, Command
from streams.laravel.numeric import read_numeric
from streams.laravel.php import PhpObject, PhpValue, serialize, unserialize
from streams.models import FIELDS, FURTHER, JobMetric

_TEXTS = tuple(name for name in FIELDS if name not in ("agent_id", "metric_name", "value"))
"""What may be null or missing."""
_USUAL_ARRAY = re.compile(rb"a:([0-9]{1,6}):\{")


def _usual_metric() -> re.Pattern[bytes]:
    text = 's:([0-9]{1,6}):"([^"]*)";'
    usual = dict.fromkeys(FIELDS, f"(?:N;|{text})") | dict.fromkeys(("agent_id", "metric_name"), text)
    usual["value"] = "(?:d:([-+.0-9eE]+)|i:(-?[0-9]{1,18}));"
    members = {name: serialize(name) + value for name, value in usual.items()}
    members |= {name: f"(?:{serialize(name)}{text})?" for name in FURTHER}
    return re.compile(rf"i:([0-9]{{1,6}});a:([0-9]{{1,2}}):\{{{''.join(members.values())}\}}".encode())


_USUAL_METRIC = _usual_metric()
_FIRST_FURTHER = 12
"""The first of its groups for what is `FURTHER`, two for each."""
_COUNTS = [b"%d" % (ALWAYS + further) for further in range(len(FURTHER) + 1)]
"""How many members a metric has, by how many of them are further ones."""


def read_command(command: str, job_class: str) -> Command:
    """Read a command.

    Raises:
        MalformedRecord: if it is none of that class, or its tenant or a metric is not what the job takes.
    """
    job = unserialize(command.encode(), {"metrics": _read_usual_metrics})
    if not isinstance(job, PhpObject) or job.class_name != job_class:
        raise MalformedRecord(f"the command is no {job_class}")
    properties = job.properties
    return Command(_read_tenant_id(properties.get("tenant")), _read_metrics(properties.get("metrics")))


def _read_tenant_id(tenant: PhpValue) -> str:
    if not isinstance(tenant, PhpObject) or tenant.class_name != IDENTIFIER_CLASS:
        raise MalformedRecord("the command's tenant is no model identifier (SerializesModels)")
    tenant_id = tenant.properties.get("id")
    try:
        return str(UUID(str(tenant_id)))
    except ValueError as error:
        raise MalformedRecord(f"the command's tenant {tenant_id!r} is no UUID") from error


def _read_metrics(metrics: PhpValue) -> list[JobMetric]:
    # An application may have filtered the array before it dispatched: then keys are missing.
    if isinstance(metrics, Mapping):
        metrics = list(metrics.values())
    if not isinstance(metrics, list):
        raise MalformedRecord("the command's metrics are no array")
    return [metric if isinstance(metric, JobMetric) else _read_metric(metric) for metric in metrics]


def _read_usual_metrics(data: bytes, position: int) -> tuple[list[JobMetric], int] | None:
    """Read the array of metrics where it is written as we write it: 2 µs a metric instead of 24.

    Returns:
        The metrics and where the array ends; None where it is written otherwise, or wrongly.
    """
    begin = _USUAL_ARRAY.match(data, position)
    if begin is None:
        return None
    metrics: list[JobMetric] = []
    position = begin.end()
    for index in range(int(begin[1])):
        match = _USUAL_METRIC.match(data, position)
        metric = None if match is None else _read_usual_metric(index, match)
        if match is None or metric is None:
            return None
        metrics.append(metric)
        position = match.end()
    return (metrics, position + 1) if data.startswith(b"}", position) else None


def _read_usual_metric(index: int, match: re.Match[bytes]) -> JobMetric | None:
    found = match.groups()
    place, count, agent_bytes, agent, name_bytes, name, double, integer, time_bytes, time, id_bytes, id_ = (
        found[:_FIRST_FURTHER] if FURTHER else found
    )
    try:
        value = int(integer) if double is None else float(double)
        # Other keys make it no list, and what is not finite the slow reader refuses in words.
        if int(place) != index or not math.isfinite(value):
            return None
        metric = JobMetric(
            agent_id=_read_counted(agent_bytes, agent),
            metric_name=_read_counted(name_bytes, name),
            value=value,
            timestamp=None if time is None else _read_counted(time_bytes, time),
            dedupe_id=None if id_ is None else _read_counted(id_bytes, id_),
        )
        further = _read_further(found[_FIRST_FURTHER:]) if FURTHER else {}
    except ValueError:  # no number, no UTF-8, or not of the length that it says
        return None
    if count != _COUNTS[len(further)]:
        return None
    return msgspec.structs.replace(metric, **further) if further else metric


def _read_further(found: Sequence[bytes]) -> dict[str, str]:
    """Read those that are there, each a length and a text."""
    pairs = zip(FURTHER, found[::2], found[1::2], strict=True)
    return {name: _read_counted(length, text) for name, length, text in pairs if text is not None}


def _read_counted(length: bytes, text: bytes) -> str:
    # The pattern stops at a quote, which a text may hold: then the length disagrees, and the slow reader
    # takes it.
    if int(length) != len(text):
        raise ValueError(length)
    return text.decode()


def _read_metric(metric: PhpValue) -> JobMetric:
    if not isinstance(metric, Mapping):
        raise MalformedRecord("a metric of the command is no array")
    return JobMetric(
        agent_id=_read_name(metric, "agent_id"),
        metric_name=_read_name(metric, "metric_name"),
        value=_read_value(metric.get("value")),
        **{name: _read_optional_text(metric, name) for name in _TEXTS},
    )


def _read_optional_text(metric: Mapping[int | str, PhpValue], name: str) -> str | None:
    """Return a string; an integer becomes one, as it does on its way into a column of text."""
    return None if metric.get(name) is None else str(_read_name(metric, name))


def _read_name(metric: Mapping[int | str, PhpValue], name: str) -> str | int:
    text = metric.get(name)
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise MalformedRecord(f"a metric's {name} is {text!r}; it must be a string")
    return text


def _read_value(value: PhpValue) -> int | float | str:
    """Return a number, or a numeric string, which the application's HTTP interface lets through."""
    if isinstance(value, str):
        numeric = read_numeric(value)
        if numeric is not None and math.isfinite(float(numeric)):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise MalformedRecord(f"a metric's value is {value!r}; it must be a finite number")
