"""Who may use the dashboard: whoever sends WEB_TOKEN, or the cookie that was given for it.

A browser cannot send a bearer token with an event stream, so it trades the token for a cookie: the time at
which it ends, and a keyed digest (HMAC-SHA256) of that. Every worker with the same token takes it, and the
token itself is in no cookie.

Where no token is set, the worker listens on loopback alone. There a page from elsewhere could still reach it
through a browser, by a name that is made to mean this machine; so only names of this machine are answered.
"""

import hmac
import time
from collections.abc import Callable
from hashlib import sha256
from ipaddress import ip_address

from aiohttp import web

from streams.web.shared import is_allowed

COOKIE = "metric_streams"
LASTS_S = 30 * 86_400
MADE_FOR = b"metric-streams dashboard "
MARK = "X-Metric-Streams"
"""A header that no form and no page of another site can send: a browser would first ask whether it may."""

NO_TOKEN = "send WEB_TOKEN"  # noqa: S105 - what to do, and no token
NOT_OURS = "this request came from another site"
STRANGE_NAME = "without a WEB_TOKEN the dashboard answers to localhost and addresses alone: set WEB_TOKEN"


class Login:
    """Checks requests.

    Args:
        token: WEB_TOKEN; empty for none.
        wall: Unix time in seconds.
    """

    def __init__(self, token: str, wall: Callable[[], float] = time.time) -> None:
        self._token = token
        self._wall = wall

    @property
    def is_asked_for(self) -> bool:
        """Whether there is a token at all."""
        return bool(self._token)

    def refusal(self, request: web.Request) -> tuple[int, str] | None:
        """Say why a request is not answered, with the HTTP status; None if it is."""
        if not self._token:
            return None if _is_this_machine(request.host) else (403, STRANGE_NAME)
        if is_allowed(request.headers, self._token) or self._takes(request.cookies.get(COOKIE, "")):
            return None
        return 401, NO_TOKEN

    def refusal_to_change(self, request: web.Request) -> tuple[int, str] | None:
        """Say why a request that changes something is not answered; None if it is.

        A cookie is SameSite=Strict, which browsers heed; the header and where the browser says that the
        request comes from hold as well where there is no cookie at all.
        """
        if request.headers.get(MARK) != "1":
            return 403, f"send the header {MARK}: 1"
        # Browsers send it by themselves, and no page can change it; other clients leave it out.
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return 403, NOT_OURS
        return self.refusal(request)

    def is_token(self, given: str) -> bool:
        """Tell whether this is the token, in a time that tells nothing of it."""
        return hmac.compare_digest(given.encode(errors="replace"), self._token.encode())

    def admit(self, request: web.Request, response: web.StreamResponse) -> None:
        """Give the cookie.

        It has no path, so that it goes to the directory of the login alone, whatever a reverse proxy calls
        that.
        """
        ends_at = int(self._wall()) + LASTS_S
        response.set_cookie(
            COOKIE,
            f"{ends_at}.{self._digest(str(ends_at))}",
            max_age=LASTS_S,
            path="",  # left out then
            httponly=True,
            samesite="Strict",
            # Without TLS a browser would drop a secure cookie, and the login would do nothing.
            secure=_is_https(request),
        )

    @staticmethod
    def dismiss(response: web.StreamResponse) -> None:
        """Take the cookie back."""
        response.set_cookie(COOKIE, "", max_age=0, path="", httponly=True, samesite="Strict")

    def _takes(self, cookie: str) -> bool:
        ends_at, _, digest = cookie.partition(".")
        # Before the time is looked at: only of a cookie that is ours does its time say anything.
        genuine = hmac.compare_digest(digest.encode(errors="replace"), self._digest(ends_at).encode())
        return genuine and ends_at.isdecimal() and int(ends_at) > self._wall()

    def _digest(self, ends_at: str) -> str:
        return hmac.new(self._token.encode(), MADE_FOR + ends_at.encode(errors="replace"), sha256).hexdigest()


def _is_https(request: web.Request) -> bool:
    return request.secure or request.headers.get("X-Forwarded-Proto", "") == "https"


def _is_this_machine(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
