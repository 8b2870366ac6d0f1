"""How long recovery may take after each kind of fault: from its end until what comes then lands as rows.

In seconds, on a machine of two cores that carries every part and the load. ``docs/guarantees.md`` shows them.
"""

DEFAULT_S = 60.0
BOUNDS_S: dict[str, float] = {
    # Our processes: the session timeout of the group and of ingest's lock, then the partitions move.
    **dict.fromkeys(("die-at", "kill", "stop", "freeze", "join", "leave"), DEFAULT_S),
    "clock": DEFAULT_S,
    "second-group": DEFAULT_S,
    "old-build": 90.0,
    # Links.
    **dict.fromkeys(("cut", "stall", "slow", "slow-postgres", "flood"), DEFAULT_S),
    # Servers.
    **dict.fromkeys(("restart", "crash", "rebalance-without", "redis-set-back", "power-loss"), DEFAULT_S),
    **dict.fromkeys(("outage", "disk-full", "broker-killed"), 120.0),
    # Histories: a topic that is made anew is noticed when its metadata are read again.
    **dict.fromkeys(("kafka-set-back", "raw-set-back", "unique-set-back", "changelog-set-back"), 90.0),
    **dict.fromkeys(("raw-recreated", "unique-recreated", "changelog-recreated"), 120.0),
    **dict.fromkeys(("records-deleted", "redis-before-first-fence"), 120.0),
}
