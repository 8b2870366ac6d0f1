"""How a benchmark speaks: what it does on stderr, and in the end one line of JSON on stdout."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console

from benchmarks.versions import machine, versions

console = Console(stderr=True)


def report(name: str, figures: Mapping[str, object]) -> None:
    """Print the figures, with what they were measured on."""
    line = {"benchmark": name, **figures, "versions": versions(), "machine": machine()}
    print(json.dumps(line, ensure_ascii=False), flush=True)


@contextmanager
def say(what: str) -> Iterator[None]:
    """Tell what is going on; on a terminal, with something that moves."""
    if not console.is_terminal:
        console.print(what)
        yield
        return
    with console.status(what):
        yield


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that is not below `share` of all (nearest rank).

    Args:
        ordered: at least one value, in ascending order.
        share: above 0, at most 1.
    """
    return ordered[max(0, -(-round(len(ordered) * share * 1e6) // 10**6) - 1)]


def spread_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the largest of some times, in milliseconds."""
    ordered = sorted(seconds)
    named = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(ordered, share) * 1e3, 2) for name, share in named.items()}
