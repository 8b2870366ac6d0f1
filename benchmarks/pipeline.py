"""The whole pipeline, MQTT to Redis with Kafka in between: with one worker, with two, and the tutorial's.

Publishes as fast as Mosquitto takes it and measures from the first publication until the last message is in
a job in Redis. Messages/s are those of everything together on this machine's cores: load, broker, Kafka and
Redis too. CPU is of the workers alone. Left out: how long a worker takes to start, and what happens behind
the queue. `generator` says what the load itself costs.
"""

import argparse
import time
from collections.abc import Mapping, Sequence

from benchmarks.generator import Load, generate
from benchmarks.jobs import JobCounter
from benchmarks.material import Mix
from benchmarks.report import report, say
from benchmarks.stack import Run, Stack, add_settings, given_settings, stack
from benchmarks.tutorial import QUEUE
from benchmarks.tutorial_worker import Tutorial
from benchmarks.usage import Usage

STALLED_S = 60.0


def main(arguments: list[str]) -> None:
    """Print one line of JSON: one worker, two, the tutorial's pipeline, and how often ours is faster."""
    parser = argparse.ArgumentParser(prog="./dev bench pipeline", description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000, help="to publish (%(default)s)")
    parser.add_argument("--tutorial-messages", type=int, default=15_000, help="0: leave it out (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="runs with so many (1 2)")
    parser.add_argument("--duplicates", type=float, default=0.0, help="share of exact copies (%(default)s)")
    parser.add_argument("--malformed", type=float, default=0.0, help="share to be rejected (%(default)s)")
    add_settings(parser)
    options = parser.parse_args(arguments)
    settings = given_settings(options)
    with stack() as parts:
        mix = Mix(parts.tenants, options.duplicates, options.malformed)
        figures: dict[str, object] = {}
        for workers in options.workers:
            figures[f"workers_{workers}"] = measured(parts, workers, options.messages, mix, settings)
        if options.tutorial_messages:
            figures["tutorial"] = tutorial(parts, options.tutorial_messages)
    report("pipeline", {"set": settings, **figures, "better_than_the_tutorial": _ratios(figures)})


def measured(
    parts: Stack, workers: int, messages: int, mix: Mix, settings: Mapping[str, str]
) -> dict[str, object]:
    """Run our workers."""
    what = f"{messages:,} messages, workers: {workers}"
    with parts.run(**settings) as run, say(what), run.working(workers):
        return carried(run, run.pids, run.queue, messages, mix)


def tutorial(parts: Stack, messages: int) -> dict[str, object]:
    """Run the tutorial's pipeline."""
    what = f"{messages:,} messages, the tutorial's pipeline"
    with parts.run() as run, say(what), Tutorial(run.environment) as worker:
        return carried(run, [worker.pid], QUEUE, messages, Mix(parts.tenants))


def carried(run: Run, pids: Sequence[int], queue: str, messages: int, mix: Mix) -> dict[str, object]:
    """Publish, and measure until everything has arrived."""
    with JobCounter(run.redis_url, queue) as jobs, Usage(pids, run.servers) as usage:
        began = time.time()
        load = generate(Load(run.mosquitto.port, messages, mix=mix, run=run.name))
        ended = jobs.wait_for(int(load["rows"]), STALLED_S)
    seconds = ended - began
    return {
        "messages": messages,
        "messages_a_s": round(messages / seconds),
        "seconds": round(seconds, 2),
        **usage.figures(messages),
        "jobs": jobs.jobs,
        "rows": jobs.messages,
        "generator": load,
    }


def _ratios(figures: Mapping[str, object]) -> dict[str, dict[str, float]]:
    slow = figures.get("tutorial")
    if not isinstance(slow, dict):
        return {}
    return {
        name: {
            "messages_a_s": round(fast["messages_a_s"] / slow["messages_a_s"], 1),
            "cpu": round(slow["cpu_us_a_message"] / fast["cpu_us_a_message"], 1),
        }
        for name, fast in figures.items()
        if fast is not slow and isinstance(fast, dict)
    }
