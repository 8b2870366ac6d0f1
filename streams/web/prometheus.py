"""Metrics in Prometheus's text format, version 0.0.4. Pure.

    # HELP metric_streams_ingest_rows_total rows written
    # TYPE metric_streams_ingest_rows_total counter
    metric_streams_ingest_rows_total 4210

The format is described at https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """A metric with its samples."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    """One line, without a backslash."""
    label: str = ""
    """The one label that tells the samples apart; empty where there is a single sample without one."""
    samples: Mapping[str, float] = {}
    """By the label's value, which holds no quote, backslash or line break."""


def render(families: Iterable[Family]) -> str:
    """Return the page; a family without a sample is left out."""
    return "".join(_rendered(family) for family in families if family.samples)


def _rendered(family: Family) -> str:
    lines = [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
    for value, sample in family.samples.items():
        label = f'{{{family.label}="{value}"}}' if family.label else ""
        lines.append(f"{family.name}{label} {sample:.15g}")
    return "\n".join(lines) + "\n"
