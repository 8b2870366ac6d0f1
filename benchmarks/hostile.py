"""How long an honest tenant's messages take while a hostile one publishes at full speed what costs most.

The honest tenant publishes ten messages a second. Beside it a process (`benchmarks.flood`) publishes one
kind of `benchmarks.hostility` for as long, at QoS 1 on connections of its own, as fast as the broker takes
it. That is done once with a hostile tenant whose chunks lie in another partition than the honest one's, and
once with one that shares its partition. Each message is known in its job by its dedupe id. It counts as
published when it was due, so a broker that does not read it in time is not spared; as arrived when a reader
that waits for jobs has its job. The honest device names no timestamp: the job has the time at which ingress
received the message, and so tells how long it lay in the broker.

Each scene has a worker and topics of its own, so that none begins with the backlog of another. Of each the
line also tells how many hostile messages the broker took a second, and how many messages each stage had
behind it when the flood ended: where they differ lies the backlog. An honest message that has not come some
seconds after that is counted in `not_come`, and in the percentiles as if it came then: they are lower bounds.
Ten messages a second are too few for a 99th percentile of a short time to differ from the maximum.
"""

import argparse
import itertools
import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.flood import Order, Taken, flooding
from benchmarks.generator import connection_to
from benchmarks.hostility import KINDS
from benchmarks.jobs import POLL_S, JobCounter
from benchmarks.jobs import Taken as TakenJobs
from benchmarks.latency import timestamps
from benchmarks.packets import publish
from benchmarks.report import console, report, say, spread_ms
from benchmarks.stack import PARTITIONS, Run, add_settings, given_settings, stack
from benchmarks.usage import Usage
from streams.ingress.chunking import partition_of

RATE = 10
"""Messages a second of the honest tenant."""
PAGE_TIMEOUT_S = 120
"""How long a worker that is flooded has to show its page."""
LIMIT_S = 1.0
"""What is asked of the honest tenant's 99th percentile."""
CASES = ("other_partition", "same_partition")
STAGES = ("received", "written", "refined", "pushed")
NOTHING = "nothing"
_ID = re.compile(rb"honest-\d{5}")


def main(arguments: list[str]) -> None:
    """Print one line of JSON with the honest tenant's latency beside each kind of hostility."""
    parser = argparse.ArgumentParser(prog="./dev bench hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each kind (%(default)s)")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS, help="all of them by default")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=CASES, help="both by default")
    parser.add_argument("--wait", type=float, default=10.0, help="seconds for the rest to come (%(default)s)")
    add_settings(parser)
    options = parser.parse_args(arguments)
    settings = given_settings(options)
    figures: dict[str, dict[str, dict[str, object]]] = {case: {} for case in CASES}
    with stack() as parts:
        for case, kind in itertools.product(options.cases, (NOTHING, *options.kinds)):
            pair = pairs(parts.tenants)[case]
            what = f"{case}, beside {kind} for {options.seconds:g} s"
            with parts.run(**settings) as run, run.working(1), say(what):
                found = figures[case][kind] = Scene(run, kind, pair).measured(options.seconds, options.wait)
            console.print_json(data=found, indent=None, highlight=False)  # lest a long run ends with nothing
    over = [
        f"{case}: {kind}"
        for case, kinds in figures.items()
        for kind, found in kinds.items()
        if float(str(found["p99"])) > LIMIT_S * 1e3
    ]
    given = {"set": settings, "seconds": options.seconds, "rate": RATE}
    report(
        "hostile", {**given, "wait_s": options.wait, **figures, "limit_s": LIMIT_S, "over_the_limit": over}
    )


class Pair(NamedTuple):
    """Two tenants of one worker."""

    honest: str
    hostile: str


def pairs(tenants: Sequence[str]) -> dict[str, Pair]:
    """Return a pair whose chunks lie in two partitions, and one whose chunks lie in the same."""
    honest, *others = tenants
    partitions = {tenant: partition_of(tenant, PARTITIONS) for tenant in tenants}
    by_case = {partitions[other] == partitions[honest]: Pair(honest, other) for other in reversed(others)}
    return {CASES[0]: by_case[False], CASES[1]: by_case[True]}


class Arrival(NamedTuple):
    """When a message came, Unix time in seconds."""

    received: float
    """By ingress."""
    arrived: float
    """In a job in Redis."""


class Arrivals(JobCounter):
    """Empties the queue, and keeps when the honest tenant's messages came."""

    def __init__(self, url: str, queue: str) -> None:
        super().__init__(url, queue)
        self.of: dict[str, Arrival] = {}
        """By dedupe id."""

    def _count(self, taken: TakenJobs) -> None:
        for job in taken.jobs:
            if _ID.search(job):
                self.of.update(arrivals_in(job, taken.at))

    def wait_for(self, messages: int, timeout_s: float) -> float:
        """Return the Unix time at which so many had come, or at which the time was over."""
        until = time.time() + timeout_s
        while len(self.of) < messages and time.time() < until:
            time.sleep(POLL_S)
        return time.time()


def arrivals_in(job: bytes, at: float) -> Iterator[tuple[str, Arrival]]:
    """Yield the messages of ours in a job: a metric's time stands before its id, and each has both."""
    for metric in job.split(b"metric_name")[1:]:
        if found := _ID.search(metric):
            (received,) = timestamps(metric)
            yield found[0].decode(), Arrival(received, at)


class Scene:
    """The honest tenant beside one kind of hostility."""

    def __init__(self, run: Run, kind: str, pair: Pair) -> None:
        self._run, self._kind, self._pair = run, kind, pair

    def measured(self, seconds: float, wait_s: float) -> dict[str, object]:
        """Publish for so long, wait until all of the honest has come, and tell how long it took.

        Raises:
            ConnectionError: the broker was lost.
        """
        with (
            Arrivals(self._run.redis_url, self._run.queue) as arrivals,
            Usage(self._run.pids, self._run.servers) as usage,
        ):
            published, taken = self._publish(seconds)
            counted = self._counted()
            ended = arrivals.wait_for(len(published), wait_s)
        came = [(at, *arrivals.of[id_]) for id_, at in published.items() if id_ in arrivals.of]
        missing = [ended - at for id_, at in published.items() if id_ not in arrivals.of]
        return {
            **spread_ms([arrived - at for at, _, arrived in came] + missing),
            "not_come": len(missing),
            "until_ingress": spread_ms([received - at for at, received, _ in came] or missing),
            "hostile_a_s": round(taken.messages / taken.seconds),
            "when_it_ended": {"published": taken.messages + len(published), **counted},
            **usage.figures(len(published) + taken.messages),
        }

    def _publish(self, seconds: float) -> tuple[dict[str, float], Taken]:
        """Return when each of the honest messages was published, and what the broker took of the others."""
        if self._kind == NOTHING:
            return self._pace(seconds), Taken(0, seconds)
        order = Order(self._run.mosquitto.port, self._kind, self._pair.hostile, self._run.name)
        with flooding(order) as flood:
            published = self._pace(seconds)
            return published, flood.end()

    def _pace(self, seconds: float) -> dict[str, float]:
        topic = f"metrics/{self._pair.honest}/honest/cpu"
        published: dict[str, float] = {}
        with connection_to(self._run.mosquitto.port, "honest") as connection:
            began = time.time()
            for number in range(int(RATE * seconds)):
                due = began + number / RATE
                time.sleep(max(0.0, due - time.time()))
                id_ = f"honest-{number:05d}"
                payload = f'{{"value": 42.17, "dedupe_id": "{id_}"}}'.encode()
                connection.sendall(publish(topic, payload, number + 1))
                published[id_] = due
        return published

    def _counted(self) -> dict[str, int]:
        """Ask the worker how many messages each stage has behind it."""
        messages: Counter[str] = Counter()
        for worker in self._run.workers:
            with urllib.request.urlopen(f"{worker.web_url}/", timeout=PAGE_TIMEOUT_S) as page:  # noqa: S310 - loopback
                messages.update(json.load(page)["messages"])
        return {stage: messages[stage] for stage in STAGES}
