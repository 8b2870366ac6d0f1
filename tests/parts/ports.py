"""Ports for the servers that tests start."""

import random
import socket

# Below the ports that Linux (32768 and up) and macOS (49152 and up) lend to outgoing connections: a server
# that is restarted must find its port free, and not in use by some client meanwhile.
_FIRST, _LAST = 20_000, 32_000
_ATTEMPTS = 200

_handed_out: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, and that this process has not handed out before."""
    for _ in range(_ATTEMPTS):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - nothing secret about a port
        if port not in _handed_out and _is_free(port):
            _handed_out.add(port)
            return port
    raise RuntimeError(f"no free port found between {_FIRST} and {_LAST}")


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
