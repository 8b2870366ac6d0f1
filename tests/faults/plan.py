"""What happens in a storm, and when: drawn from a seed before it begins. Pure.

Three lanes run side by side, each one fault after the other: what happens to our own processes, to the links
between the parts, and to the servers.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.faults.killable import Point

SERVERS = ("mosquitto", "kafka", "redis", "postgres")
LINKS = (
    "devices-mosquitto",
    "worker-mosquitto",
    "worker-kafka",
    "worker-redis",
    "worker-postgres",
    "ingest-redis",
    "ingest-postgres",
)

KINDS = (
    *("die-at", "kill", "stop", "freeze", "join", "leave"),
    *("cut", "stall", "slow", "slow-postgres", "flood"),
    *("restart", "crash", "outage", "failover", "rebalance-without", "redis-set-back"),
    *("kafka-set-back", "raw-set-back", "unique-set-back", "changelog-set-back"),
    *("raw-recreated", "unique-recreated", "changelog-recreated"),
    *("records-deleted", "redis-before-first-fence"),
    *("second-group", "clock", "old-build"),
    *("power-loss", "disk-full", "broker-killed"),
)
OF_DISKS = {"power-loss", "disk-full"}
"""Kinds that need servers with disks of their own."""
OF_STANDBYS = {"failover"}
"""Kinds that need a second Redis and PostgreSQL; the disks, of the first ones, cannot be had beside them."""
OF_BROKERS = {"broker-killed"}
"""Kinds that need three brokers; those that stop or set back the only one cannot be had beside them."""
ALONE = {
    *("kafka-set-back", "raw-set-back", "unique-set-back", "changelog-set-back"),
    *("raw-recreated", "unique-recreated", "changelog-recreated"),
    *("records-deleted", "redis-before-first-fence"),
}
"""Kinds beside which nothing else happens: they destroy what was acknowledged."""
CALM_S = 15.0
"""Before each of a few faults that were asked for by name."""


class Fault(NamedTuple):
    """One thing that goes wrong."""

    kind: str
    target: str = ""
    seconds: float = 0.0
    """How long it lasts, for those that last."""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.target, f"{self.seconds:g} s") if part != "0 s")


class Step(NamedTuple):
    """A fault and the calm before it."""

    calm_s: float
    fault: Fault


@dataclass(frozen=True)
class Plan:
    """A storm.

    Attributes:
        seed: it was drawn from.
        rate: messages a second of all devices.
        lanes: the steps of each lane.
        least_s: how long the devices publish at least.
        drain_limit_s: how long it may take, after the last fault, until everything has arrived.
        in_bounds: whether each recovery must keep what is promised for it (`tests.faults.bounds`).
        after_s: how long the devices go on after the last fault: what comes then must arrive as well.
    """

    seed: int
    rate: float
    lanes: Mapping[str, Sequence[Step]]
    least_s: float
    drain_limit_s: float = 120.0
    in_bounds: bool = True
    after_s: float = 15.0

    def counts(self) -> Counter[str]:
        """Return how often each kind of fault is to happen."""
        return Counter(fault.kind for fault in self.faults())

    def faults(self) -> list[Fault]:
        """Return all faults."""
        return [step.fault for lane in self.lanes.values() for step in lane]


def long_form(seed: int, rate: float = 850.0) -> Plan:
    """Half an hour in which everything happens."""
    dice = random.Random(seed)  # noqa: S311 - repeatable is what it must be
    outages = [Fault("outage", server, 60) for server in SERVERS]
    outages += [Fault("outage", "redis+postgres", 300), Fault("outage", "mosquitto", 300)]
    outages += [Fault("outage", "kafka", 300), Fault("redis-set-back", "redis", 60)]
    outages += [Fault("failover", server, 20) for server in ("redis", "postgres")] * 2
    outages += _histories(20)
    links = [Fault(kind, link, dice.uniform(3, 10)) for kind in ("cut", "stall", "slow") for link in LINKS]
    links += [Fault("restart", server) for server in SERVERS]
    links += [Fault("crash", server) for server in SERVERS if server != "mosquitto"]
    links += [Fault("slow-postgres", "postgres", 30), Fault("flood", "mosquitto", 10)]
    links += [Fault("rebalance-without", server, 10) for server in ("redis", "postgres")]
    ours = [Fault("die-at", point, 10) for point in Point for _ in range(7)]
    ours += [Fault("kill", "worker")] * 2 + [Fault("stop", "worker")] * 2
    ours += [Fault("kill", "ingest"), Fault("stop", "ingest"), Fault("freeze", "worker", 60)]
    ours += [Fault("freeze", "worker", dice.uniform(14, 25)), Fault("freeze", "ingest", 15)]
    ours += [Fault("freeze", "leader", 23)]
    ours += [Fault("join", "worker"), Fault("leave", "worker")] * 2
    return Plan(
        seed,
        rate,
        {
            "ours": _lane(dice, ours, calm_s=(10, 28)),
            "links": _lane(dice, links, calm_s=(20, 60)),
            "servers": _lane(dice, outages, calm_s=(30, 60)),
        },
        least_s=1_800,
    )


def _histories(seconds: float) -> list[Fault]:
    """Return each fault after which the histories of the parts differ."""
    faults = [Fault("kafka-set-back", "kafka", seconds)]
    for topic in ("raw", "unique", "changelog"):
        faults += [Fault(f"{topic}-set-back", topic, seconds), Fault(f"{topic}-recreated", topic)]
    return [*faults, Fault("records-deleted", "raw"), Fault("records-deleted", "unique")]


def histories_form(seed: int, rate: float = 850.0) -> Plan:
    """Half an hour in which the histories of the parts diverge, again and again, and workers are mixed."""
    dice = random.Random(seed)  # noqa: S311 - repeatable is what it must be
    servers = _histories(20) * 2 + [Fault("redis-set-back", "redis", 30), Fault("outage", "kafka", 60)]
    ours = [Fault("second-group", "worker", 20)] * 4 + [Fault("clock", "worker", 40)] * 6
    ours += [Fault("old-build", "worker", 40)] * 2 + [Fault("freeze", "leader", 23)] * 4
    ours += [Fault("kill", "worker"), Fault("stop", "worker")] * 3
    lanes = {
        "servers": _lane(dice, servers, calm_s=(20, 40)),
        "ours": _lane(dice, ours, calm_s=(15, 40)),
    }
    # Redis as it was before the first fence gets all of the last hour again: while that is little.
    lanes["servers"].insert(0, Step(20, Fault("redis-before-first-fence", "redis")))
    return Plan(seed, rate, lanes, least_s=1_800)


def disks_form(seed: int, rate: float = 600.0) -> Plan:
    """Power fails and disks are full, under each server."""
    dice = random.Random(seed)  # noqa: S311 - repeatable is what it must be
    faults = [Fault("power-loss", server) for server in SERVERS] * 5
    faults += [Fault("disk-full", server, 20) for server in SERVERS] * 2
    return Plan(seed, rate, {"servers": _lane(dice, faults, calm_s=(20, 40))}, least_s=1_800)


def brokers_form(seed: int, rate: float = 300.0) -> Plan:
    """Of three brokers the one that leads is killed, again and again."""
    dice = random.Random(seed)  # noqa: S311 - repeatable is what it must be
    faults = [Fault("broker-killed", "leader", 15)] * 20
    return Plan(seed, rate, {"servers": _lane(dice, faults, calm_s=(30, 60))}, least_s=1_800)


def short_form(seed: int, rate: float = 850.0) -> Plan:
    """Two minutes of it, for every run of the tests."""
    dice = random.Random(seed)  # noqa: S311 - repeatable is what it must be
    links = [Fault(kind, dice.choice(LINKS), 4) for kind in ("cut", "stall", "slow")]
    servers = [Fault("redis-set-back", "redis", 8), Fault("restart", dice.choice(SERVERS))]
    servers += [Fault("outage", "kafka", 10), Fault("outage", "redis", 8)]
    ours = [Fault("die-at", point, 20) for point in Point]
    ours += [Fault("kill", "worker"), Fault("stop", "worker"), Fault("freeze", "worker", 13)]
    return Plan(
        seed,
        rate,
        {
            "ours": _lane(dice, ours, calm_s=(2, 6)),
            "links": _lane(dice, links, calm_s=(8, 20)),
            "servers": _lane(dice, servers, calm_s=(6, 12)),
        },
        least_s=80,
        in_bounds=False,  # a test, on machines that do other work: what it counts is what landed
    )


def these(faults: Sequence[Fault], rate: float = 1_000.0) -> Plan:
    """Return a plan with some faults alone, one after the other."""
    lane = [Step(CALM_S, fault) for fault in faults]
    return Plan(0, rate, {"these": lane}, least_s=0)


def read_fault(text: str) -> Fault:
    """Read a fault as it is shown: ``outage kafka 300``.

    Raises:
        ValueError: if there is no such kind, or the seconds are no number.
    """
    words = text.split()
    kind, target, seconds = words + ["", "", "0"][len(words) :]
    if kind not in KINDS:
        raise ValueError(f"no fault {kind}; there are {', '.join(KINDS)}")
    return Fault(kind, target, float(seconds))


def only(plan: Plan, kinds: Iterable[str]) -> Plan:
    """Return a plan with faults of some kinds alone."""
    wanted = set(kinds)
    lanes = {name: [step for step in lane if step.fault.kind in wanted] for name, lane in plan.lanes.items()}
    return replace(plan, lanes=lanes)


def _lane(dice: random.Random, faults: Sequence[Fault], calm_s: tuple[float, float]) -> list[Step]:
    shuffled = dice.sample(list(faults), len(faults))
    return [
        Step(round(dice.uniform(*calm_s), 1), fault._replace(seconds=round(fault.seconds, 1)))
        for fault in shuffled
    ]
