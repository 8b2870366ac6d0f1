"""A load that is larger than what we can take: QoS 1 messages by the hundred thousand a second.

Measures how fast it publishes to a Mosquitto that has no subscriber, and what a message costs it; that is the
bound, and the cost on the same two cores, of all benchmarks that use it. Packets lie ready
(``benchmarks/packets.py``), a connection is written to by the hundred of them, and PUBACKs are only counted:
nothing is sent again, so a connection that breaks ends the run. MQTT 3.1.1, whose PUBACK has one size. The
bound is Mosquitto, which has one thread; its own CPU a message says what it would take with a core to itself.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from benchmarks.encrypted import Login, encrypted
from benchmarks.material import Mix, tenants
from benchmarks.packets import BLOCK, CONNACK_BYTES, Block, Pubacks, connect, is_accepted
from benchmarks.report import report, say
from benchmarks.usage import cpu_s
from tests.parts.mosquitto import Mosquitto

WINDOW = 4 * BLOCK
"""Packets of one connection that wait for their PUBACK: below what our mosquitto.conf allows."""
FULL_SPEED_TICK_S, PACED_TICK_S = 0.01, 0.001
SILENCE_S = 60.0
READ_BYTES = 256 * 1024
HOST = "127.0.0.1"
CONNECTIONS, PACED_CONNECTIONS = 64, 8
"""Mosquitto takes one packet a turn from each: many spare it turns, and few spare us looking at them."""
TENANTS = 6
BROKERS = {"as_configured": {}, "with_nodelay": {"set_tcp_nodelay": "true"}}
"""Options of Mosquitto; with the second ones it sends PUBACKs together, as they come up."""


def main(arguments: list[str]) -> None:
    """Print one line of JSON with what a Mosquitto without subscribers took."""
    parser = argparse.ArgumentParser(prog="./dev bench generator", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="to publish (%(default)s)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="at once (%(default)s)")
    options = parser.parse_args(arguments)
    figures = {name: _taken(settings, options) for name, settings in BROKERS.items()}
    report("generator", {"messages": options.messages, "connections": options.connections, **figures})


def _taken(settings: Mapping[str, str], options: argparse.Namespace) -> dict[str, float]:
    what = f"publishing {options.messages:,} messages"
    with Mosquitto(settings) as mosquitto, say(what):
        before_s = cpu_s([mosquitto.pid])
        made = generate(Load(mosquitto.port, options.messages, connections=options.connections))
        broker_s = cpu_s([mosquitto.pid]) - before_s
    return {**made, "broker_cpu_us_a_message": round(broker_s / options.messages * 1e6, 2)}


class Load(NamedTuple):
    """What is published, and how."""

    port: int
    """Of the broker on this machine."""
    messages: int
    rate: float = 0
    """Messages a second; 0 for as many as the broker takes."""
    connections: int = CONNECTIONS
    """Among which the messages are divided."""
    run: str = "0"
    """Keeps the ids of two runs apart."""
    mix: Mix = Mix(tenants(TENANTS))
    """By default neither copies nor malformed ones."""


# --- The process ------------------------------------------------------------------------------------------


def start(load: Load) -> "subprocess.Popen[str]":
    """Start publishing in a process of its own, whose output is a line of JSON in the end."""
    command = [sys.executable, "-m", "benchmarks.generator", json.dumps(load._asdict())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(generator: "subprocess.Popen[str]") -> dict[str, float]:
    """Wait for its end; return the messages, the rows that must come of them, and what it cost.

    Raises:
        CalledProcessError: if it failed.
    """
    output, _ = generator.communicate()
    if generator.returncode:
        raise subprocess.CalledProcessError(generator.returncode, generator.args)
    made: dict[str, float] = json.loads(output)
    return made


def generate(load: Load) -> dict[str, float]:
    """Publish in a process of its own and wait for its end; see `finish`."""
    return finish(start(load))


# --- Within it --------------------------------------------------------------------------------------------


class Packets(Protocol):
    """What a device publishes again and again: `Block`, or what behaves like one."""

    def stamped(self, number: int, count: int, unix_us: int) -> memoryview:
        """Return the packets of the next publications, valid until this is called again."""
        ...

    def rows(self, number: int, count: int) -> int:
        """Return how many rows must come of them."""
        ...


class Device:
    """One connection that publishes."""

    def __init__(self, connection: socket.socket, block: Packets) -> None:
        self.sent = self.rows = 0
        self._connection = connection
        self._block = block
        self._pubacks = Pubacks()
        self._unwritten = memoryview(b"")

    @property
    def acknowledged(self) -> int:
        """How many of its publications the broker has taken."""
        return self._pubacks.count

    @property
    def room(self) -> int:
        """How many may be published now; those of one call of `publish` lie in one block."""
        if self._unwritten:
            return 0
        return min(WINDOW - (self.sent - self.acknowledged), BLOCK - self.sent % BLOCK)

    def publish(self, count: int) -> None:
        """Publish the next ones, at most as many as there is room for."""
        self._unwritten = self._block.stamped(self.sent, count, time.time_ns() // 1_000)
        self.rows += self._block.rows(self.sent, count)
        self.sent += count
        self.write()

    def write(self) -> None:
        """Write what the socket had no room for."""
        if self._unwritten:
            with contextlib.suppress(BlockingIOError):
                self._unwritten = self._unwritten[self._connection.send(self._unwritten) :]

    def read(self) -> None:
        """Count the acknowledgements that have come.

        Raises:
            ConnectionError: the broker has closed the connection.
        """
        if self.sent == self.acknowledged:
            return
        with contextlib.suppress(BlockingIOError):
            data = self._connection.recv(READ_BYTES)
            if not data:
                raise ConnectionError("the broker has closed the connection")
            self._pubacks.feed(data)


def publish_all(devices: Sequence[Device], messages: int, rate: float) -> None:
    """Publish and wait until the broker has acknowledged everything.

    Raises:
        ConnectionError: a connection broke, or the broker was silent for `SILENCE_S`.
    """
    began = moved = time.monotonic()
    acknowledged = sent = turn = 0
    tick_s = PACED_TICK_S if rate else FULL_SPEED_TICK_S
    while acknowledged < messages:
        now = time.monotonic()
        due = min(messages, int((now - began) * rate) + 1) if rate else messages
        turn = (turn + 1) % len(devices)
        # Whole blocks cost least; the last one may be a part.
        whole = not rate and due - sent > BLOCK
        sent += _serve([*devices[turn:], *devices[:turn]], due - sent, whole=whole)
        before, acknowledged = acknowledged, sum(device.acknowledged for device in devices)
        moved = now if acknowledged > before else moved
        if now - moved > max(SILENCE_S, 2 / rate if rate else 0):
            raise ConnectionError(f"the broker has acknowledged nothing for {SILENCE_S:g} s")
        # No PUBACK is worth waking up for: each tick finds a hundred of them.
        time.sleep(max(PACED_TICK_S, began + sent / rate - now) if rate and sent < messages else tick_s)


def _serve(devices: Sequence[Device], due: int, *, whole: bool) -> int:
    """Let devices read, and publish what is due; return how much that was.

    Args:
        devices: in their order.
        due: how many publications are.
        whole: publish whole blocks only, which cost least.
    """
    left = due
    for device in devices:
        device.read()
        device.write()
        while (count := min(left, device.room)) > 0 and (count == BLOCK or not whole):
            device.publish(count)
            left -= count
    return due - left


@contextlib.contextmanager
def _connected(load: Load) -> Iterator[list[Device]]:
    with contextlib.ExitStack() as stack:
        devices = []
        for number in range(load.connections):
            connection = stack.enter_context(connection_to(load.port, f"bench-{load.run}-{number}"))
            connection.setblocking(False)  # noqa: FBT003 - the only way to say it
            devices.append(Device(connection, Block(load.mix, number, load.run)))
        yield devices


@contextlib.contextmanager
def connection_to(port: int, client_id: str, login: Login | None = None) -> Iterator[socket.socket]:
    """Connect to the broker, and close the connection in the end.

    Args:
        port: of the broker on this machine.
        client_id: who we are.
        login: makes it an encrypted one.

    Raises:
        ConnectionError: the broker is not reached, or does not let us in.
    """
    plain = socket.create_connection((HOST, port), timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with encrypted(plain, HOST, login.ca) if login else plain as connection:
        connection.sendall(connect(client_id, *(login[:2] if login else ())))
        if not is_accepted(connack := connection.recv(CONNACK_BYTES)):
            raise ConnectionError(f"the broker does not let us in: {connack.hex()}")
        yield connection


def run(load: Load) -> dict[str, float]:
    """Publish, in this process.

    Raises:
        ConnectionError: the broker is not reached, does not let us in, or is lost.
    """
    with _connected(load) as devices:
        began, began_cpu = time.monotonic(), time.process_time()
        publish_all(devices, load.messages, load.rate)
        seconds, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
        return {
            "messages": sum(device.acknowledged for device in devices),
            "rows": sum(device.rows for device in devices),
            "seconds": round(seconds, 3),
            "messages_a_s": round(load.messages / seconds),
            "cpu_us_a_message": round(cpu_s / load.messages * 1e6, 2),
        }


if __name__ == "__main__":
    load = json.loads(sys.argv[1])
    print(json.dumps(run(Load(**load | {"mix": Mix(*load["mix"])}))))
