"""TLS to Kafka and to the MQTT broker: which certificates count, and what a handshake that failed means.

The files are read again when they change: a connection that is made after a rotation is made with the new
ones, and a file that was mended needs no restart. (redis-py and asyncpg read theirs for every connection.)
"""

import logging
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

log = logging.getLogger(__name__)

LEAST = ssl.TLSVersion.TLSv1_2


class TlsFiles(NamedTuple):
    """Paths of PEM files; each may be empty."""

    ca: str = ""
    """What the server's certificate must lead to; without it, what this machine trusts."""
    cert: str = ""
    """Our own certificate, for a server that asks for one, with those between it and its CA."""
    key: str = ""
    """Its key, where it does not stand in the same file."""

    @property
    def given(self) -> list[str]:
        """Those that are set."""
        return [path for path in self if path]

    @property
    def shown(self) -> str:
        """Their names, for a line of the log."""
        return ", ".join(self.given)


def read_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context with what the files hold now.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: it holds no certificate or no key, they do not belong together, or the key is encrypted.
    """
    context = ssl.create_default_context(cafile=files.ca or None)
    context.minimum_version = LEAST
    if files.cert:
        # Without a password OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(files.cert, files.key or None, password=lambda: "")
    return context


@lru_cache(maxsize=8)
def context_of(files: TlsFiles) -> "RenewingContext":
    """Return the one context for these files: what it has read outlives the client that asked for it."""
    return RenewingContext(files)


class RenewingContext(ssl.SSLContext):
    """A context that stands for one with what the files hold when a connection begins.

    A client keeps the context that it was made with, and asks it once for every connection.
    """

    def __new__(cls, files: TlsFiles) -> Self:  # noqa: ARG004 - `ssl.SSLContext` takes what it needs here
        """Make the context, of which only what `ssl` and its users ask for by name is ever used."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._read: tuple[list[tuple[int, int]], ssl.SSLContext] | None = None

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection of asyncio's."""
        return self._current().wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Begin a connection of paho's."""
        return self._current().wrap_socket(*args, **options)

    def _current(self) -> ssl.SSLContext:
        try:
            stand = [_stand(path) for path in self._files.given]
            if self._read is None or self._read[0] != stand:
                self._read = stand, read_context(self._files)
        except (OSError, ssl.SSLError) as error:
            if self._read is None:
                raise
            # As while they are being replaced; the connection after this one looks again.
            log.warning("the certificates in use stay: %s cannot be read: %s", self._files.shown, error)
        return self._read[1]


def _stand(path: str) -> tuple[int, int]:
    found = Path(path).stat()  # a secret that is mounted is a link, which is pointed elsewhere
    return found.st_ino, found.st_mtime_ns


def tls_seen(error: BaseException, prefix: str) -> str | None:
    """Say in plain words what a handshake failed on, and with which setting that is mended.

    Args:
        error: what the connection failed with, whatever it was raised from.
        prefix: of the settings: ``KAFKA`` or ``MQTT``.

    Returns:
        None for what has nothing to do with TLS.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__  # aiomqtt leaves out the cause, not the context
    return None if found is None else _handshake_seen(found, prefix)


def _handshake_seen(error: ssl.SSLError, prefix: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification_seen(error.verify_message, prefix)
    text = f"{error.reason or error}".replace("_", " ").lower()
    for part, seen in _SEEN.items():
        if part in text:
            return seen.format(prefix=prefix)
    return f"no TLS handshake: {text}"


_SEEN = {
    "wrong version number": "it speaks no TLS on this port",
    "unsupported protocol": "it speaks no TLS as new as 1.2",
    "alert protocol version": "it speaks no TLS as new as 1.2",
    "certificate expired": "our certificate has expired: renew {prefix}_CERT_FILE",
    "unknown ca": "it does not know the CA of our certificate: look at {prefix}_CERT_FILE",
    "certificate": "it asks for a certificate of ours that it trusts: look at {prefix}_CERT_FILE",
}
"""By a piece of OpenSSL's reason, alerts of the server's (RFC 8446, 6.2) among them; the first that fits.

Of one that is missing, expired or of another CA, Kafka says "bad certificate" alike.
"""


def _verification_seen(message: str, prefix: str) -> str:
    text = message.lower()
    if "expired" in text:
        return "its certificate has expired"
    if "not yet valid" in text:
        return "its certificate is not valid yet: is this machine's clock right?"
    if "mismatch" in text or "not valid for" in text:
        return f"its certificate is for another host: {message}"
    return f"its certificate is of no CA that is trusted here: set {prefix}_CA_FILE ({message})"
