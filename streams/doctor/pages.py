"""Reads the web pages of the worker and of ingest on this machine, as settings say where they are."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
import msgspec

from streams.settings import Settings

TIMEOUT_S = 4.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what WEB_BIND may be, not bound here


class FetchedPage(NamedTuple):
    """An answer."""

    status: int
    body: Mapping[str, Any]
    date_s: float | None
    """The Unix time of the process that answered."""

    @property
    def is_refused(self) -> bool:
        """Whether it wants another WEB_TOKEN."""
        return self.status == HTTPStatus.UNAUTHORIZED


def worker_url(settings: Settings) -> str:
    """Return where the worker's pages are."""
    return _url(settings.web_bind, settings.web_port)


def ingest_url(settings: Settings) -> str | None:
    """Return where ingest's pages are; None if there are none."""
    return _url(settings.web_bind, settings.ingest_web_port) if settings.ingest_web_port else None


def _url(bind: str, port: int) -> str:
    host = ANYWHERE.get(bind, bind)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def read_page(settings: Settings, url: str) -> FetchedPage | None:
    """Return a page; None if nobody answers there, or something else does than a process of ours."""
    token = settings.web_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url, headers=headers) as answer,
        ):
            body = msgspec.json.decode(await answer.read(), type=dict[str, Any])
            return FetchedPage(answer.status, body, _date_s(answer.headers.get("Date", "")))
    except (TimeoutError, aiohttp.ClientError, OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def _date_s(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
