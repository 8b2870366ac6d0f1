"""What the URLs of all parts have in common: how one is shown without secrets, and what none may hold.

Each part's own module beside this one knows the rest. Pure. No line that is made here quotes a URL, since
any piece of a malformed one may be a piece of its password.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

ESCAPES = "in a user name or password write @ as %40, / as %2F, ? as %3F, # as %23, [ as %5B and ] as %5D"
LONGEST_HOST = 253  # RFC 1035, 2.3.4, as text
MOST_PORT = 65_535

_HOST_NAME = re.compile(r"[\w.-]+")
_FOUR_NUMBERS = re.compile(r"\d+(\.\d+){3}")


def shown_url(url: str) -> str:
    """Return a URL as it may be shown: without user name, password and options.

    >>> shown_url("redis://app:s3cr3t@cache:6379/0?client_name=x")
    'redis://cache:6379/0'
    >>> shown_url("postgresql://app:s3/cr?t@db/app")
    'postgresql://(not shown)'
    """
    scheme, slashes, rest = url.rpartition("://")
    before, at, after = rest.rpartition("@")
    if at and re.search("[?#]", before):
        return f"{scheme}{slashes}(not shown)"
    return f"{scheme}{slashes}{re.split('[?#]', after, maxsplit=1)[0]}"


def is_host(host: str) -> bool:
    """Tell whether something can be a host: an IP address, or a name that a resolver can be asked for."""
    try:
        ip_address(host)
    except ValueError:
        return _is_host_name(host)
    return "%" not in host


def unreadable(name: str, url: str) -> str | None:
    """Say why the parts of a URL are not what its author meant, if so: there is no looking further."""
    if any(char.isspace() or not char.isprintable() for char in url):
        return f"{name} holds a space or a line break: take it out, or write %20 for a space"
    if "#" in url:
        return f"{name} holds a #, and all behind it would be ignored: {ESCAPES}"
    authority, _, behind = _halves(url)
    if authority.count("@") > 1 or "@" in behind:
        return f"{name} holds an @ that does not stand before the host: {ESCAPES}"
    return _undecodable(name, url)


def place_fault(name: str, parts: SplitResult, *, example: str) -> Iterator[str]:
    """Say that a URL does not name one host, and a port if any, if so."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not is_host(parts.hostname or "") or not is_port(1 if port is None else port):
        yield f"{name} must name a host, and a port from 1 to {MOST_PORT}, as in {example}"


def is_port(port: int) -> bool:
    """Tell whether a number can be the port of a server."""
    return 0 < port <= MOST_PORT


def scheme_fault(name: str, schemes: Sequence[str]) -> str:
    """Say with what a URL begins."""
    return f"{name} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"


def _undecodable(name: str, url: str) -> str | None:
    try:
        urlsplit(url)
        decoded = unquote(url, errors="strict")
    except UnicodeDecodeError:
        return f"{name} holds a % with two digits that are no UTF-8: write a % itself as %25"
    except ValueError:
        return f"{name} is no URL, its host is malformed: {ESCAPES}"
    if not decoded.isprintable():
        return f"{name} holds a control character, written with a %: take it out"
    return None


def _halves(url: str) -> tuple[str, str, str]:
    """Return who and where, and what follows."""
    rest = url.partition("://")[2]
    end = re.search("[/?]", rest)
    at = end.start() if end else len(rest)
    return rest[:at], rest[at : at + 1], rest[at + 1 :]


def _is_host_name(host: str) -> bool:
    if not _HOST_NAME.fullmatch(host) or len(host) > LONGEST_HOST or _FOUR_NUMBERS.fullmatch(host):
        return False
    try:
        host.encode("idna")  # as the socket module does
    except UnicodeError:
        return False
    return True
