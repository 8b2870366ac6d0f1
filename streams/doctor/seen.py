"""What one part's check tells the others': some faults show only in two parts together."""

from collections.abc import Iterable
from dataclasses import dataclass

from streams.doctor.finding import Finding, broken


@dataclass
class Sightings:
    """What was seen so far."""

    status: str = ""
    """What the status topic says of ingress; empty if that is not known."""
    members: int | None = None
    """How many workers are in the consumer group; None if that is not known."""


def across(seen: Sightings, client_id: str) -> Iterable[Finding]:
    """Return what two parts say together."""
    if seen.members == 0 and seen.status == "online":
        yield broken(
            "mqtt",
            f"the status topic says that ingress is online, and no worker of ours runs: another one uses the "
            f"MQTT_CLIENT_ID {client_id}, or our status topic",
            "Give each deployment an MQTT_CLIENT_ID and an MQTT_STATUS_TOPIC of its own",
        )
