"""DATABASE_URL: what asyncpg makes of it, and what it would silently leave out or fail on later.

No connection is opened. asyncpg also reads what libpq would: the variables ``PG…``, and certificate files.
"""

import inspect
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from asyncpg import connect_utils
from asyncpg.exceptions import ClientConfigurationError

from streams.config.urls import MOST_PORT, is_host, scheme_fault, unreadable

NAME = "DATABASE_URL"
SCHEMES = ("postgresql", "postgres")
EXAMPLE = "postgresql://user:password@host:5432/database"

SERVER_SETTINGS = (
    "options",
    "search_path",
    "role",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "synchronous_commit",
    "jit",
    "work_mem",
)
"""Settings of PostgreSQL itself that a URL may hold; asyncpg hands on every name that it does not know, and
the server refuses a connection with one that it does not know either."""

MENDS = {
    "application_name": "take it out, since metric-streams gives its own name",
    "timezone": "take it out, since metric-streams works in UTC",
    "channel_binding": "take it out, since asyncpg has no channel binding",
    "connect_timeout": "take it out, since metric-streams waits 5 s and tries again",
    "schema": "write search_path=NAME instead",
    "currentschema": "write search_path=NAME instead",
    "ssl": "write sslmode=require instead",
}


def database_url_faults(url: str) -> Iterator[str]:
    """Say what is wrong with DATABASE_URL."""
    fault = unreadable(NAME, url)
    if fault is not None:
        yield fault
        return
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        yield scheme_fault(NAME, SCHEMES)
        return
    faults = [*_option_faults(parts)]
    yield from faults or _client_faults(parts)


def _option_faults(parts: SplitResult) -> Iterator[str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        yield f"{NAME} holds an option that is not written as name=value: {EXAMPLE}?sslmode=require"
        return
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names) or not all(value for _, value in pairs):
        yield f"{NAME} holds an option twice, or one without a value: all but one would be ignored"


def _client_faults(parts: SplitResult) -> Iterator[str]:
    """Let asyncpg read the URL, without its user name and password: what it says of it is then no secret."""
    place = parts.netloc.rpartition("@")[2]
    try:
        addresses, parameters = _read(urlunsplit(parts._replace(netloc=place)))
    except ClientConfigurationError as error:
        yield f"{NAME} is refused by asyncpg: {_plain(error)}"
    except OSError as error:
        yield f"{NAME} names a certificate or a key that cannot be used: {error.strerror or error}"
    except (ValueError, LookupError):
        yield f"{NAME} must name a host, and a port from 1 to {MOST_PORT}, as in {EXAMPLE}"
    else:
        yield from _address_faults(addresses)
        for name in parameters.server_settings or ():
            if name.lower() not in SERVER_SETTINGS and "." not in name:
                yield f"{NAME} holds an option that is of no use here{_mend(name)}"


def _read(url: str) -> tuple[list[Any], Any]:
    # Private, since asyncpg's only public way connects; its arguments differ from version to version.
    parse: Any = vars(connect_utils)["_parse_connect_dsn_and_args"]
    arguments: dict[str, Any] = dict.fromkeys(inspect.signature(parse).parameters)
    return cast("tuple[list[Any], Any]", parse(**arguments | {"dsn": url, "user": "-", "password": "-"}))


def _address_faults(addresses: list[Any]) -> Iterator[str]:
    for host, port in (address for address in addresses if not isinstance(address, str)):
        if not is_host(host) or not 0 < port <= MOST_PORT:
            yield f"{NAME} must name a host, and a port from 1 to {MOST_PORT}, as in {EXAMPLE}"
            return


def _mend(name: str) -> str:
    if name.lower() in MENDS:
        return f", {name}: {MENDS[name.lower()]}"
    # Of a name that nobody knows, nobody knows either whether it is a piece of a password.
    return f", {name}: take it out" if name.replace("_", "").isalpha() else ": take it out"


def _plain(error: Exception) -> str:
    return "its host is no IPv6 address" if "IPv6" in str(error) else str(error).replace("`", "").rstrip(".")
