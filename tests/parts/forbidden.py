"""What devices try on a guarded broker: topics that are others', filters, and topics that are odd."""

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


def odd_topics(hostile: Account) -> list[bytes]:
    """Return topics that no rule lets through: the broker refuses them, or they are rejected behind it.

    Some look like the device's own, so that it is the broker, or the pipeline, that has to notice.
    """
    own = hostile.topic.encode()
    device, _, _ = own.rpartition(b"/")
    tenant, _, agent = device.rpartition(b"/")
    root, _, tenant_id = tenant.partition(b"/")
    return [
        # Control characters, and what turns the direction of writing.
        *(
            own + character.encode()
            for character in ("\a", "\n", "\x1b[2J", "\x7f", "\x85", "\u202e", "\u2066")
        ),
        tenant + b"/\x1b[2J" + agent + b"/cpu",
        # MQTT 5, 1.5.4: no NUL, and nothing that is not UTF-8. A NUL would end the string in C.
        own + b"\0",
        device + b"\0/cpu",
        *(
            own + malformed
            for malformed in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xef\xbf\xbf")
        ),
        # As long as a topic can be, in one level and in thousands.
        device + b"/" + b"x" * 65_000,
        device + b"/" + "é".encode() * 32_000,
        device + b"/" * 65_000,
        # Empty levels.
        *(b"", b"/", b"/" + own, device + b"/", device + b"//cpu", b"metrics//" + agent + b"/cpu"),
        *(root + b"//" + tenant_id + b"/" + agent + b"/cpu", tenant + b"//cpu"),
        # MQTT 5, 3.3.2-2: a wildcard stands in a filter alone.
        *(b"#", b"+", b"metrics/#", b"metrics/+/+/cpu", tenant + b"/+/cpu", device + b"/+", device + b"/#"),
        *(own + b"+", own + b"#", b"$share/metric-streams/" + own),
        # What becomes the own one, or another's, for whoever decodes once too often or folds case.
        *(own.replace(b"/", b"%2f"), device + b"/../" + agent + b"/cpu", own.replace(b"metrics", b"METRICS")),
        own.replace(b"/", "\u2215".encode()),
    ]
