"""What no device may do on a guarded broker: topics that it may not publish to, and filters."""

from tests.parts.accounts import Account


def foreign_topics(honest: Account, hostile: Account) -> list[str]:
    """Return topics of other devices, of the bridge and of the broker, and some that are nobody's."""
    own = f"metrics/{hostile.tenant_id}"
    return [
        honest.topic,
        f"{own}/another-agent/cpu",
        f"{own}/{hostile.agent_id}/cpu/further",
        own,
        "bridge/status",
        "$CONTROL/dynamic-security/v1",
        "$SYS/broker/version",
        "anything",
    ]


def filters(hostile: Account) -> list[str]:
    """Return what may not be subscribed to: the bridge's share group, and all else."""
    return [
        "#",
        "metrics/#",
        "$share/metric-streams/metrics/#",
        "$share/metric-streams/#",
        f"metrics/{hostile.tenant_id}/#",
        "bridge/status",
        "$SYS/#",
        "$CONTROL/#",
    ]
