"""Says why an address cannot be listened on, and what to set: of the worker's pages and of ingest's."""

import errno
import socket


def why_not_listening(error: OSError, bind: str, port: int, port_setting: str) -> str:
    """Put into words that the web pages cannot be served.

    Args:
        error: what the attempt has brought.
        bind: the address, WEB_BIND.
        port: the port.
        port_setting: the name of the setting that says the port.
    """
    return f"the web pages cannot be served on {bind} port {port}: {_why(error, bind, port, port_setting)}"


def _why(error: OSError, bind: str, port: int, port_setting: str) -> str:
    if isinstance(error, socket.gaierror):
        return (
            f"WEB_BIND={bind} is no address of this machine, and no name that it knows. Set WEB_BIND to one"
        )
    if error.errno == errno.EADDRINUSE:
        return f"another process has the port. Stop it, or set {port_setting} to a port that is free"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"WEB_BIND={bind} is no address of this machine. Set WEB_BIND to one of its own"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not use {port_setting}={port}. Set {port_setting} to a port above 1023"
    return f"{error.strerror or error}. Check WEB_BIND and {port_setting}"
