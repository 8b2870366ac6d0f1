"""BROKER_URL: the Kafka servers, ``kafka://host:9092``, several with ``;`` or ``,`` between them. Pure."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from streams.config.urls import place_fault, unreadable

NAME = "BROKER_URL"
DEFAULT_PORT = 9092
EXAMPLE = "kafka://host:9092"

_SECURED = re.compile(r"ssl|sasl|tls|kafkas", re.IGNORECASE)


def kafka_servers(broker_url: str) -> list[str]:
    """Return the servers as ``host:port``; `kafka_url_faults` has found nothing wrong with the URL.

    >>> kafka_servers("kafka://a, b:1; kafka://[::1]:2/")
    ['a:9092', 'b:1', '[::1]:2']
    """
    places = (urlsplit(url) for url in _urls(broker_url))
    return [f"{_bracketed(place.hostname or '')}:{place.port or DEFAULT_PORT}" for place in places]


def kafka_url_faults(broker_url: str) -> Iterator[str]:
    """Say what is wrong with BROKER_URL; each fault once, however many servers have it."""
    yield from dict.fromkeys(fault for url in _urls(broker_url) for fault in _faults(url))


def _urls(broker_url: str) -> list[str]:
    parts = (part.strip(" ") for part in re.split("[;,]", broker_url))
    return [part if "://" in part else f"kafka://{part}" for part in parts]


def _faults(url: str) -> Iterator[str]:
    fault = unreadable(NAME, url)
    if fault is not None:
        yield fault
        return
    parts = urlsplit(url)
    if parts.scheme != "kafka":
        yield _scheme_fault(url.partition("://")[0])
    if "@" in parts.netloc:
        yield (
            f"{NAME} holds a user name or a password: write {EXAMPLE}, and set KAFKA_SASL_USERNAME and "
            "KAFKA_SASL_PASSWORD"
        )
    if parts.path not in ("", "/") or parts.query:
        yield f"{NAME} holds something behind the port, which would be ignored: write {EXAMPLE}"
    yield from place_fault(NAME, parts, example=EXAMPLE)


def _scheme_fault(scheme: str) -> str:
    if _SECURED.search(scheme):
        return (
            f"{NAME} asks for encryption or a login: write {EXAMPLE}, and set "
            "KAFKA_SECURITY_PROTOCOL to SSL, SASL_SSL or SASL_PLAINTEXT"
        )
    return f"{NAME} must begin with kafka://, as in {EXAMPLE}"


def _bracketed(host: str) -> str:
    """Return a host as it stands before a port: ``::1:2`` would be an address without one."""
    return f"[{host}]" if ":" in host else host
