"""Ports for the parts of the stack."""

import random
import socket

HOST = "127.0.0.1"

# Below the ports that Linux (32768 and up) and macOS (49152 and up) lend to outgoing connections, so that no
# client takes one between our look and the server's start.
FIRST, LAST = 20_000, 32_000


def free_ports(count: int) -> list[int]:
    """Return different ports of this machine's loopback address that nothing listens on.

    Raises:
        OSError: if there are not so many.
    """
    candidates = random.sample(range(FIRST, LAST), LAST - FIRST)
    free = [port for port, _ in zip(filter(_is_free, candidates), range(count), strict=False)]
    if len(free) < count:
        raise OSError(f"fewer than {count} ports are free on {HOST} between {FIRST} and {LAST}")
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection in TIME_WAIT keeps nobody from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
