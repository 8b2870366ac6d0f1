"""How long recovery may take after each kind of fault: from its end until what comes then lands as rows.

In seconds, on a machine of two cores that carries every part and the load. ``docs/guarantees.md`` holds the
table that `table` renders.
"""

from typing import NamedTuple


class Bound(NamedTuple):
    """What is promised after some kinds of faults.

    Attributes:
        why: what the time goes to.
    """

    kinds: tuple[str, ...]
    seconds: float
    why: str


BOUNDS = (
    Bound(
        ("die-at", "kill", "stop", "freeze", "join", "leave", "clock", "second-group"),
        60,
        "the group's session timeout, then the partitions move",
    ),
    Bound(("old-build",), 90, "each worker that is replaced moves its partitions"),
    Bound(("cut", "stall", "slow", "slow-postgres", "flood"), 60, "a connection is given up and made anew"),
    Bound(
        ("restart", "crash", "rebalance-without", "redis-set-back", "power-loss"),
        60,
        "the server is found again; what it forgot is pushed again",
    ),
    Bound(("outage", "failover", "disk-full", "broker-killed"), 120, "the backlog is caught up with"),
    Bound(
        ("kafka-set-back", "raw-set-back", "unique-set-back", "changelog-set-back"),
        90,
        "the last place whose proof holds is looked for",
    ),
    Bound(
        ("raw-recreated", "unique-recreated", "changelog-recreated"),
        120,
        "the new topic is noticed when its metadata are read again",
    ),
    Bound(
        ("records-deleted", "redis-before-first-fence"),
        120,
        "reading goes on at what is left; without a fence, what the log holds is pushed again",
    ),
)
BOUNDS_S = {kind: bound.seconds for bound in BOUNDS for kind in bound.kinds}


def table() -> str:
    """Return the bounds as the document shows them."""
    lines = ["| after | within | since |", "|---|---|---|"]
    lines += [f"| {_named(bound.kinds)} | {bound.seconds:g} s | {bound.why} |" for bound in BOUNDS]
    return "\n".join(lines)


def _named(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds)
