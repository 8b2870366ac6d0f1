"""What simulated devices publish in a benchmark. Pure: a message follows from its numbers.

Every field has a fixed width, so that all packets of a run have one size and can be stamped and numbered in
place (``benchmarks/packets.py``). The timestamp is the time of publication, as with a real device: latency
is told from it.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

METRICS = (
    "cpu.usage.percent",
    "gpu.usage.percent",
    "ram.usage.percent",
    "fan.speed.percent",
    "lan.usage.percent",
)
DEVICES = 50
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
NO_NUMBER = '"hot"'
"""The value of a malformed message, as wide as one that is right."""
_BEGIN = datetime(2026, 11, 24, tzinfo=UTC)


class Mix(NamedTuple):
    """What kinds of messages are published, and for whom."""

    tenants: Sequence[str]
    duplicates: float = 0.0
    """Share of messages that are exact copies of the one before."""
    malformed: float = 0.0
    """Share of messages whose value is no number."""


class Sample(NamedTuple):
    """One message, but for what differs between two that are otherwise the same."""

    topic: str
    value: str

    def payload(self, timestamp: str, dedupe_id: str) -> bytes:
        """Return the payload."""
        return (f'{{"value": {self.value}, "timestamp": "{timestamp}", "dedupe_id": "{dedupe_id}"}}').encode()


def tenants(count: int) -> list[str]:
    """Return ids of tenants, the same ones each time."""
    chance = random.Random(1)  # noqa: S311 - not for secrets
    return [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(count)]


def sample(chance: random.Random, mix: Mix) -> Sample:
    """Draw a message that is no copy."""
    device, metric = chance.randrange(DEVICES), chance.choice(METRICS)
    topic = f"metrics/{chance.choice(mix.tenants)}/edge-{device:03d}/{metric}"
    malformed = chance.random() < mix.malformed
    return Sample(topic, NO_NUMBER if malformed else f"{chance.uniform(10, 99):05.2f}")


def publications(count: int, mix: Mix, seed: int = 1) -> list[tuple[str, bytes]]:
    """Return topics and payloads of as many messages, a millisecond apart, none of them published yet."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    made: list[tuple[str, bytes]] = []
    for number in range(count):
        if made and chance.random() < mix.duplicates:
            made.append(made[-1])
            continue
        one = sample(chance, mix)
        at = _BEGIN + timedelta(milliseconds=number)
        made.append((one.topic, one.payload(at.strftime(TIME), f"{seed:04d}-{number:010d}")))
    return made
