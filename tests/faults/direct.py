"""Messages that are written to metrics.raw past the broker, as an ingress would write them: one a record.

So it is known exactly which message stands at which offset, and which ones a deletion takes.
"""

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from streams.wire import raw
from streams.wire.headers import headers
from tests.faults.fleet import ACKED, SENT
from tests.faults.messages import DIRECT_DEVICE, Kind, kind_of, message

RECEIVED_AT = "2026-11-23T14:00:00.000000Z"


class Direct:
    """Writes messages of one device of one tenant, and knows which of them are owed.

    Args:
        number: the device's. A correction must reach the tenant of what it corrects, so each has its own.

    Attributes:
        state: for each message `SENT`, which may be missing, or `ACKED`, which may not.
    """

    def __init__(self, number: int = DIRECT_DEVICE) -> None:
        self.number = number
        self.state = bytearray()

    @property
    def rows_due(self) -> int:
        """How many rows its messages must have become."""
        owed = (number for number, state in enumerate(self.state) if state == ACKED)
        return sum(kind_of(number) in (Kind.WITH_ID, Kind.TIMED) for number in owed)

    async def write(self, bootstrap: str, topic: str, partition: int, tenant: str, count: int) -> range:
        """Write so many messages, none of them owed so far; return their numbers."""
        new = range(len(self.state), len(self.state) + count)
        self.state += bytes([SENT]) * count
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            for number in new:
                name, payload = message(self.number, number, [tenant])
                value = raw.join([raw.encode_message(name, payload, RECEIVED_AT, 1)])
                await producer.send_and_wait(topic, value, partition=partition, headers=headers(1))
        return new

    def owe(self, numbers: Sequence[int]) -> None:
        """Let messages be owed from now on: nobody has deleted them."""
        for number in numbers:
            self.state[number] = ACKED
