"""Connections of the load generator to a broker that asks who comes, and speaks TLS."""

import socket
import ssl
from typing import Any, NamedTuple


class Login(NamedTuple):
    """As whom a connection is made."""

    username: str
    password: str
    ca: str
    """The file with the certificate that the broker's must lead to."""


class EncryptedSocket(ssl.SSLSocket):
    """Does as one in clear does where it does not block: `BlockingIOError`, and all that is there at once."""

    def send(self, data: Any, flags: int = 0) -> int:
        """Send what there is room for."""
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as full:
            raise BlockingIOError from full

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has come.

        OpenSSL reads a record at a time, and Mosquitto puts each PUBACK into one of its own.
        """
        found = bytearray()
        try:
            while len(found) < buflen and (data := super().recv(buflen - len(found), flags)):
                found += data
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as empty:
            if not found:
                raise BlockingIOError from empty
        return bytes(found)


def encrypted(connection: socket.socket, host: str, ca: str) -> ssl.SSLSocket:
    """Return the connection with TLS on it, which closes it as well."""
    context = ssl.create_default_context(cafile=ca)
    context.sslsocket_class = EncryptedSocket
    return context.wrap_socket(connection, server_hostname=host)
