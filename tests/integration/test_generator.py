"""The load generator delivers to a real Mosquitto exactly what it says."""

import pytest

from benchmarks.generator import Load, finish, generate, run, start
from benchmarks.material import Mix, tenants
from tests.parts.devices import watching
from tests.parts.eventually import eventually
from tests.parts.mosquitto import Mosquitto

MESSAGES = 3_000
MIX = Mix(tenants(2), duplicates=0.1, malformed=0.05)


@pytest.mark.parametrize("rate", [0, 5_000])
async def test_what_it_says_it_has_published_arrives(mosquitto: Mosquitto, unique: str, rate: float) -> None:
    async with watching(mosquitto.url, "metrics/#") as seen:
        generator = start(Load(mosquitto.port, MESSAGES, rate, 3, unique, MIX))
        await eventually(lambda: generator.poll() is not None, 30)
        said = finish(generator)
        await eventually(lambda: len(seen) >= MESSAGES, 30)
    payloads = [payload for payload, _ in seen]
    assert said["messages"] == len(payloads) == MESSAGES
    assert all(unique.encode() in payload for payload in payloads)
    assert said["rows"] == len({payload for payload in payloads if b"hot" not in payload}) < MESSAGES


def test_it_keeps_to_its_rate(mosquitto: Mosquitto, unique: str) -> None:
    said = generate(Load(mosquitto.port, 500, 500, 2, unique))
    assert said["messages_a_s"] <= 520


def test_a_broker_that_goes_away_ends_it(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    with pytest.raises(ConnectionError):
        run(Load(mosquitto.port, 1))
