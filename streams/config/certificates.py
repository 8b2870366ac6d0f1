"""The certificate files of Kafka and MQTT: whether they are there, can be used, and would be used.

No connection is opened; the files are read.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from streams.config.clash import Clash
from streams.config.wording import shown_value
from streams.tls import TlsFiles, read_context

if TYPE_CHECKING:
    from streams.settings import Settings


class _Named(NamedTuple):
    """The files of one connection."""

    prefix: str
    """Of their settings."""
    files: TlsFiles
    encrypted: bool
    mend: str
    """What lets the connection be encrypted."""
    names: frozenset[str]
    """The settings on which it hangs that it is."""


def certificate_clashes(settings: "Settings") -> Iterator[Clash]:
    """Yield what is wrong with the files, or keeps them from being used."""
    protocol, url = settings.kafka_security_protocol, urlsplit(settings.mqtt_url.get_secret_value())
    kafka = TlsFiles(settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file)
    yield from _clashes(
        _Named(
            "KAFKA",
            kafka,
            protocol.endswith("SSL"),
            f"KAFKA_SECURITY_PROTOCOL={protocol} does not encrypt: set it to SSL or SASL_SSL",
            frozenset({"kafka_security_protocol"}),
        )
    )
    yield from _clashes(
        _Named(
            "MQTT",
            settings.mqtt_tls,
            url.scheme in ("mqtts", "wss"),
            "MQTT_URL does not ask for encryption: begin it with mqtts:// or wss://",
            frozenset({"mqtt_url"}),
        )
    )


def _clashes(named: _Named) -> Iterator[Clash]:
    settings = {f"{named.prefix.lower()}_{what}_file": path for what, path in named.files._asdict().items()}
    given = {name: path for name, path in settings.items() if path}
    # Said first: of files that are not used nobody needs to know whether they are right.
    if given and not named.encrypted:
        for name in given:
            yield Clash({name, *named.names}, f"{name.upper()} is set, but {named.mend}, or take it out")
        return
    if named.files.key and not named.files.cert:
        names = {f"{named.prefix.lower()}_{what}_file" for what in ("cert", "key")}
        yield Clash(names, f"{named.prefix}_KEY_FILE is set without {named.prefix}_CERT_FILE: set both")
        return
    unreadable = [(name, fault) for name, path in given.items() if (fault := _unreadable(path))]
    for name, fault in unreadable:
        yield Clash({name}, f"{name.upper()}={shown_value(given[name])}: {fault}. Check the path")
    # Reading a context costs a tenth of a second, and without files there is nothing to find.
    if given and not unreadable:
        yield from _unusable(named, given)


def _unreadable(path: str) -> str | None:
    try:
        Path(path).read_bytes()
    except (OSError, ValueError) as error:
        return (getattr(error, "strerror", None) or str(error)).lower()
    return None


def _unusable(named: _Named, given: dict[str, str]) -> Iterator[Clash]:
    try:
        # The CA alone first, so that the fault is told of the right file.
        read_context(TlsFiles(ca=named.files.ca))
    except (OSError, ssl.SSLError):
        name = f"{named.prefix}_CA_FILE"
        yield Clash({name.lower()}, f"{name} holds no certificate that can be read: it must be PEM")
        return
    try:
        read_context(named.files)
    except (OSError, ssl.SSLError) as error:
        names = f"{named.prefix}_CERT_FILE and {named.prefix}_KEY_FILE"
        why = (getattr(error, "reason", None) or "not PEM").replace("_", " ").lower()
        line = f"{names} hold no certificate and key ({why}): both must be PEM, and the key not encrypted"
        yield Clash(set(given), line)
