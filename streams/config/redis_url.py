"""REDIS_URL: what redis-py makes of it, and what it would silently leave out or fail on later.

No connection is opened; the certificate files that a ``rediss://`` URL names are read.
"""

import ssl
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.exceptions import RedisError

from streams.config.urls import place_fault, scheme_fault, unreadable

NAME = "REDIS_URL"
SCHEMES = ("redis", "rediss", "unix")
EXAMPLE = "redis://:password@host:6379/0"

OPTIONS = ("db", "client_name", "socket_keepalive")
TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
)
MENDS = {
    "database": "write the number of the database behind the host, as in redis://host:6379/1",
    "prefix": "set QUEUE_PREFIX instead",
    "username": "write it before the host, as in redis://user:password@host:6379/0",
    "password": f"write it before the host, as in {EXAMPLE}",
}


def redis_url_faults(url: str) -> Iterator[str]:
    """Say what is wrong with REDIS_URL."""
    fault = unreadable(NAME, url)
    if fault is not None:
        yield fault
        return
    parts = urlsplit(url)
    if "sentinel" in parts.scheme or "cluster" in parts.scheme:
        yield f"{NAME} asks for Sentinel or a cluster, and neither is supported: name one server, {EXAMPLE}"
        return
    if parts.scheme not in SCHEMES:
        yield scheme_fault(NAME, SCHEMES)
        return
    found = [*_place_faults(parts), *_option_faults(parts)]
    yield from found or _client_faults(url)


def _place_faults(parts: SplitResult) -> Iterator[str]:
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
            yield f"{NAME} must name a socket with three slashes, as in unix:///run/redis/redis.sock?db=0"
        return
    # Without a host redis-py takes localhost.
    yield from place_fault(
        NAME,
        parts if parts.netloc.rpartition("@")[2] else parts._replace(netloc="localhost"),
        example=EXAMPLE,
    )
    number = parts.path.removeprefix("/")
    if number and not (number.isascii() and number.isdigit()):
        yield f"{NAME} must end in the number of a database, as in {EXAMPLE}: redis-py would take 0 for it"


def _option_faults(parts: SplitResult) -> Iterator[str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        yield f"{NAME} holds an option that is not written as name=value: take it out"
        return
    names = [name for name, _ in pairs]
    known = OPTIONS + TLS_OPTIONS if parts.scheme == "rediss" else OPTIONS
    for name in dict.fromkeys(names):
        if name in TLS_OPTIONS and parts.scheme != "rediss":
            yield f"{NAME} holds the option {name}, which goes only with rediss://"
        elif name not in known:
            yield f"{NAME} holds an option that is of no use here{_mend(name)}"
    if len(set(names)) < len(names) or not all(value for _, value in pairs):
        yield f"{NAME} holds an option twice, or one without a value: all but one would be ignored"
    yield from _value_faults(parts, dict(pairs))


def _value_faults(parts: SplitResult, options: dict[str, str]) -> Iterator[str]:
    number = options.get("db", "0")
    if not (number.isascii() and number.isdigit()):
        yield f"{NAME} must have a number for db, as in db=0"
    if "db" in options and parts.scheme != "unix" and parts.path.strip("/"):
        yield f"{NAME} names the database twice: leave out db"
    if " " in options.get("client_name", ""):
        yield f"{NAME} must have no space in client_name: Redis refuses it"


def _mend(name: str) -> str:
    if name in MENDS:
        return f", {name}: {MENDS[name]}"
    # Of a name that nobody knows, nobody knows either whether it is a piece of a password.
    return f", {name}: take it out" if name.replace("_", "").isalpha() else ": take it out"


def _client_faults(url: str) -> Iterator[str]:
    """Let redis-py make a connection of the URL, without opening it."""
    try:
        options = dict(parse_url(url))
        connection = options.pop("connection_class", Connection)(**options)  # type: ignore[operator]  # its class
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()
    except (OSError, ssl.SSLError) as error:
        yield f"{NAME} names a certificate or a key that cannot be used: {error.strerror or error}"
    except (RedisError, TypeError, ValueError, AttributeError) as error:
        yield f"{NAME} holds an option with a value that redis-py refuses: {_plain(error)}"


def _plain(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
