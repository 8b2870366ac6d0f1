"""Ports for the servers that tests start."""

import os
import random
import socket

# Below the ports that Linux (32768 and up) and macOS (49152 and up) lend to outgoing connections: a server
# that is restarted must find its port free, and not in use by some client meanwhile. A node of a cluster
# listens on a second port, so much above its own, and that is no lent one either.
_FIRST, _LAST = 10_500, 22_499
_BUS_ABOVE = 10_000
_PROCESSES = 12
"""So many processes may run tests at a time, each with ports that the others do not use."""
_ATTEMPTS = 200

_handed_out: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, and that this process has not handed out before.

    The port of a node's cluster bus, 10,000 above, is free as well.
    """
    first, last = _ours()
    for _ in range(_ATTEMPTS):
        port = random.randint(first, last)  # noqa: S311 - nothing secret about a port
        if port not in _handed_out and _is_free(port) and _is_free(port + _BUS_ABOVE):
            _handed_out.add(port)
            return port
    raise RuntimeError(f"no free port found between {first} and {last}")


def _ours() -> tuple[int, int]:
    """Return the first and the last port of this process; pytest-xdist numbers those that share the tests."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    share = (_LAST - _FIRST + 1) // _PROCESSES
    return _FIRST + number * share, _FIRST + (number + 1) * share - 1


def accepts(host: str, port: int) -> bool:
    """Tell whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
