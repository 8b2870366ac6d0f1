"""The flood of the benchmarks publishes to a real Mosquitto until it is told to end."""

import pytest

from benchmarks.flood import Order, flooding
from benchmarks.hostility import KINDS
from benchmarks.material import tenants
from tests.parts.devices import watching
from tests.parts.eventually import eventually
from tests.parts.mosquitto import Mosquitto


@pytest.mark.parametrize("kind", ["malformed", "topics", "arrays"])
async def test_what_it_says_the_broker_has_taken_arrives(
    mosquitto: Mosquitto, unique: str, kind: str
) -> None:
    (tenant,) = tenants(1)
    async with watching(mosquitto.url, "metrics/#") as seen:
        with flooding(Order(mosquitto.port, kind, tenant, unique)) as flood:
            taken = flood.end()
        assert taken.messages > 0
        await eventually(lambda: len(seen) >= taken.messages, 30)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_is_refused_by_the_broker(mosquitto: Mosquitto, unique: str, kind: str) -> None:
    with flooding(Order(mosquitto.port, kind, tenants(1)[0], unique)) as flood:
        assert flood.end().messages > 0


async def test_a_broker_that_goes_away_ends_it(mosquitto: Mosquitto, unique: str) -> None:
    with flooding(Order(mosquitto.port, "malformed", tenants(1)[0], unique)) as flood:
        mosquitto.stop()
        await eventually(lambda: not flood.is_publishing, 30)
        with pytest.raises(ConnectionError):
            flood.end()


def test_where_no_broker_is_it_does_not_begin(mosquitto: Mosquitto, unique: str) -> None:
    mosquitto.stop()
    with pytest.raises(ConnectionError), flooding(Order(mosquitto.port, "valid", tenants(1)[0], unique)):
        pass
