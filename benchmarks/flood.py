"""A process that publishes for a hostile tenant, as fast as the broker takes it; for `hostile`.

QoS 1, on connections of its own, each with so many messages on their way as `benchmarks.generator` has. It
says when the broker has taken the first one, goes on until its standard input ends, and says what was taken.
"""

import json
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks.encrypted import Login
from benchmarks.generator import FULL_SPEED_TICK_S, Device, connection_to
from benchmarks.hostility import packets_of
from benchmarks.packets import BLOCK
from benchmarks.told import ToldProcess, going

CONNECTIONS = 4


class Order(NamedTuple):
    """What is published."""

    port: int
    """Of the broker on this machine."""
    kind: str
    tenant: str
    run: str
    """Keeps the ids of two runs apart."""
    logins: Sequence[Sequence[str]] = ()
    """A `benchmarks.encrypted.Login` for each connection, where the broker asks who comes."""


class Taken(NamedTuple):
    """What the broker has taken."""

    messages: int
    seconds: float


class Flood:
    """The process, which publishes until `end`."""

    def __init__(self, process: ToldProcess) -> None:
        self._process = process

    @property
    def is_publishing(self) -> bool:
        """Whether it goes on; by itself it ends only where the broker is lost."""
        return self._process.is_going

    def end(self) -> Taken:
        """Let it cease.

        Raises:
            ConnectionError: it had ceased by itself; it has said why.
        """
        return Taken(**self._process.end())


@contextmanager
def flooding(order: Order) -> Iterator[Flood]:
    """Start the process, and go on when the broker has taken a first message.

    Raises:
        ConnectionError: it takes none.
    """
    with going("benchmarks.flood", order._asdict()) as process:
        yield Flood(process)


# --- Within it --------------------------------------------------------------------------------------------


def run(order: Order) -> Taken:
    """Publish, in this process.

    Raises:
        ConnectionError: the broker is not reached, does not let us in, or is lost.
    """
    with ExitStack() as stack:
        devices = []
        for number in range(CONNECTIONS):
            login = Login(*order.logins[number]) if order.logins else None
            connection = stack.enter_context(connection_to(order.port, f"flood-{order.run}-{number}", login))
            connection.setblocking(False)  # noqa: FBT003 - the only way to say it
            devices.append(Device(connection, packets_of(order.kind, order.tenant, number, order.run)))
        began = time.monotonic()
        _publish(devices)
        return Taken(_acknowledged(devices), round(time.monotonic() - began, 3))


def _publish(devices: Sequence[Device]) -> None:
    """Publish until standard input ends; what is on its way then may arrive or not."""
    is_told = False
    while not select.select([sys.stdin], [], [], FULL_SPEED_TICK_S)[0]:
        for device in devices:
            device.read()
            device.write()
            while device.room == BLOCK:
                device.publish(BLOCK)
        if not is_told and _acknowledged(devices):
            is_told = True
            print("publishing", flush=True)


def _acknowledged(devices: Sequence[Device]) -> int:
    return sum(device.acknowledged for device in devices)


if __name__ == "__main__":
    print(json.dumps(run(Order(**json.loads(sys.argv[1])))._asdict()))
