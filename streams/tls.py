"""TLS to Kafka and to the MQTT broker: which certificates count, and what a handshake that failed means.

The files are read again when they change: a connection that is made after a rotation is made with the new
ones, and a file that was mended needs no restart. (redis-py and asyncpg read theirs for every connection.)
"""

import logging
import ssl
from contextlib import suppress
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


class BriefGoodbye(ssl.SSLObject):
    """One side of a connection that says when it ends, and does not wait until the other has said so too.

    Nothing is to come by then (RFC 8446, 6.1). Kafka does not answer, and asyncio waits for that for 30 s.
    """

    def unwrap(self) -> None:
        """Say that the connection ends."""
        with suppress(ssl.SSLError):
            super().unwrap()


def read_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context with what the files hold now.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: it holds no certificate or no key, they do not belong together, or the key is encrypted.
    """
    context = ssl.create_default_context(cafile=files.ca or None)
    context.minimum_version = LEAST
    context.sslobject_class = BriefGoodbye
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
            # The first time there is nothing to go on with, so whoever starts must hear of it.
            if self._read is None:
                raise
            # As while they are being replaced; the connection after this one looks again.
            log.warning("the certificates in use stay: %s cannot be read: %s", self._files.shown, error)
        return self._read[1]


def _stand(path: str) -> tuple[int, int]:
    found = Path(path).stat()  # a secret that is mounted is a link, which is pointed elsewhere
    return found.st_ino, found.st_mtime_ns


class TlsNames(NamedTuple):
    """What our certificates are called in the settings of one connection."""

    ca: str
    cert: str


KAFKA = TlsNames("KAFKA_CA_FILE", "KAFKA_CERT_FILE")
MQTT = TlsNames("MQTT_CA_FILE", "MQTT_CERT_FILE")
REDIS = TlsNames("ssl_ca_certs in REDIS_URL", "ssl_certfile in REDIS_URL")
POSTGRES = TlsNames("sslrootcert in DATABASE_URL", "sslcert in DATABASE_URL")


class TlsFault(NamedTuple):
    """What a handshake failed on."""

    seen: str
    """In plain words, to stand behind the server's address."""
    mend: str

    def __str__(self) -> str:
        return f"{self.seen}: {self.mend}"


def tls_fault(error: BaseException, named: TlsNames) -> TlsFault | None:
    """Return what a handshake failed on; None for what has nothing to do with TLS.

    Args:
        error: what the connection failed with, whatever it was raised from.
        named: by what the mend is named.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__  # aiomqtt leaves out the cause, not the context
    if found is None:
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        return _of_their_certificate(found.verify_message, named)
    text = f"{found.reason or found}".replace("_", " ").lower()
    for part, (seen, mend) in _FAULTS.items():
        if part in text:
            return TlsFault(seen, mend.format(cert=named.cert))
    return TlsFault(f"no TLS handshake, {text}", "see the server's log")


_FAULTS = {
    "wrong version number": ("it speaks no TLS on this port", "name its port for TLS"),
    "unsupported protocol": ("it speaks no TLS as new as 1.2", "let it"),
    "alert protocol version": ("it speaks no TLS as new as 1.2", "let it"),
    "certificate expired": ("our certificate has expired", "renew {cert}"),
    "unknown ca": ("it does not know the CA of our certificate", "look at {cert}"),
    "certificate": ("it asks for a certificate of ours that it trusts", "look at {cert}"),
}
"""By a piece of OpenSSL's reason, alerts of the server's (RFC 8446, 6.2) among them; the first that fits.

Of one that is missing, expired or of another CA, Kafka says "bad certificate" alike.
"""


def _of_their_certificate(message: str, named: TlsNames) -> TlsFault:
    text = message.lower()
    if "expired" in text:
        return TlsFault("its certificate has expired", "renew it, there")
    if "not yet valid" in text:
        return TlsFault("its certificate is not valid yet", "look at the clocks of both machines")
    if "mismatch" in text or "not valid for" in text:
        return TlsFault(
            f"its certificate is for another host ({message.rstrip('.')})", "call it by a name in it"
        )
    return TlsFault(f"its certificate is of no CA that is trusted here ({message})", f"set {named.ca}")
