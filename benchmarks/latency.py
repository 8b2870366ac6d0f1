"""How long a message takes from its publication until a job with it stands in Redis, at even rates.

Publication is the moment at which the generator stamps a message, which is also the device's timestamp in
the row; arrival that at which a reader that waits for jobs has one in its hands. Both are by the clock of
this one machine. What is far behind in the end was not equal to the rate, and its latency had no bound. Left
out: the first tenth of each rate, in which caches and batches find their size, and what happens behind the
queue. The tutorial's pipeline is asked as well, at rates that it can keep up with.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from benchmarks.generator import PACED_CONNECTIONS, Load, generate
from benchmarks.jobs import JobCounter, Taken
from benchmarks.pipeline import STALLED_S
from benchmarks.report import report, say, spread_ms
from benchmarks.stack import Run, add_settings, given_settings, stack
from benchmarks.tutorial import QUEUE
from benchmarks.tutorial_worker import Tutorial
from benchmarks.usage import Usage

RATES = (100, 1_000, 10_000)
TUTORIAL_RATES = (100,)
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{6}")
LEFT_OUT = 0.1
"""Share of a rate's time."""


def main(arguments: list[str]) -> None:
    """Print one line of JSON with median, 99th percentile and maximum at each rate."""
    parser = argparse.ArgumentParser(prog="./dev bench latency", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="at each rate (%(default)s)")
    parser.add_argument(
        "--rates", type=int, nargs="*", default=RATES, help="messages a second (100 1000 10000)"
    )
    parser.add_argument(
        "--tutorial-rates", type=int, nargs="*", default=TUTORIAL_RATES, help="of the tutorial's (100)"
    )
    add_settings(parser)
    options = parser.parse_args(arguments)
    settings = given_settings(options)
    figures: dict[str, object] = {}
    with stack() as parts:
        with parts.run(**settings) as run, run.working(1):
            figures["worker"] = {
                f"{rate}_a_s": measured(run, run.pids, run.queue, Pace(rate, options.seconds))
                for rate in options.rates
            }
        if options.tutorial_rates:
            with parts.run() as run, Tutorial(run.environment) as worker:
                figures["tutorial"] = {
                    f"{rate}_a_s": measured(run, [worker.pid], QUEUE, Pace(rate, options.seconds))
                    for rate in options.tutorial_rates
                }
    report("latency", {"set": settings, "seconds": options.seconds, **figures})


class Pace(NamedTuple):
    """What is published."""

    rate: int
    """Messages a second."""
    seconds: float


def measured(run: Run, pids: Sequence[int], queue: str, pace: Pace) -> dict[str, object]:
    """Publish at a rate, and tell how long the messages took."""
    messages = int(pace.rate * pace.seconds)
    with (
        say(f"{pace.rate:,} messages a second for {pace.seconds:g} s"),
        JobCounter(run.redis_url, queue, keep=True) as jobs,
        Usage(pids, run.servers) as usage,
    ):
        made = generate(Load(run.mosquitto.port, messages, pace.rate, PACED_CONNECTIONS, f"{pace.rate}"))
        jobs.wait_for(messages, STALLED_S)
    passages = [passage for taken in jobs.taken for passage in passages_of(taken)]
    behind_s = max(arrived for _, arrived in passages) - max(published for published, _ in passages)
    spread = {**spread_ms(steady(passages)), "behind_in_the_end_s": round(behind_s, 2)}
    return {**spread, **usage.figures(messages), "generator": made}


def passages_of(taken: Taken) -> Iterator[tuple[float, float]]:
    """Yield of each message when it was published and when it had arrived, Unix time in seconds."""
    for job in taken.jobs:
        for published in timestamps(job):
            yield published, taken.at


def steady(passages: Sequence[tuple[float, float]]) -> list[float]:
    """Return how long each message took, in seconds, without those of the first tenth of the time."""
    first = min(published for published, _ in passages)
    last = max(published for published, _ in passages)
    begin = first + (last - first) * LEFT_OUT
    return [arrived - published for published, arrived in passages if published >= begin]


def timestamps(job: bytes) -> list[float]:
    """Return the times in a job, ours or the tutorial's, as Unix time in seconds."""
    return [_unix_s(found.decode()) for found in _TIMESTAMP.findall(job)]


@lru_cache(maxsize=4)
def _second(text: str) -> float:
    return datetime.strptime(text.replace("T", " "), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def _unix_s(text: str) -> float:
    second, _, us = text.partition(".")
    return _second(second) + int(us) / 1e6
