"""The dashboard over HTTP: its login, its event stream, its files, and who may not."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from aiohttp import ClientResponse, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from streams.dashboard.board import TooManyWatch
from streams.models import Reason
from streams.web.dashboard_pages import FILES, DashboardPages, redirect
from streams.web.login import COOKIE, LASTS_S, MARK, Login
from tests.parts.eventually import eventually

TOKEN = "a token that is long enough"  # noqa: S105 - of this test alone
Client = TestClient[web.Request, web.Application]


class FakeBoard:
    def __init__(self) -> None:
        self.seconds: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.watchers = 0
        self.is_full = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        if self.is_full:
            raise TooManyWatch
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def history(self) -> bytes:
        return b'{"at":[1.0]}'

    async def next(self) -> bytes | None:
        return await self.seconds.get()


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def token() -> str:
    return TOKEN


@pytest.fixture
async def client(board: FakeBoard, clock: Clock, token: str) -> AsyncIterator[Client]:
    pages = DashboardPages(board, Login(token, clock))
    application = web.Application()
    # As a reverse proxy does that has the worker under a path.
    application.router.add_get("/bridge/dashboard", redirect)
    application.add_subapp("/bridge/dashboard", pages.application())
    application.router.add_get("/bridge/events", pages.events)
    async with TestClient(TestServer(application), cookie_jar=CookieJar(unsafe=True)) as client:
        yield client


async def log_in(client: Client, token: str = TOKEN) -> ClientResponse:
    return await client.post("/bridge/dashboard/login", json={"token": token})


async def test_without_a_token_nothing_is_told(client: Client, board: FakeBoard) -> None:
    for path in ("/bridge/dashboard/events", "/bridge/dashboard/session", "/bridge/events"):
        assert (await client.get(path)).status == 401
    assert board.watchers == 0


async def test_the_page_itself_is_told_to_all_since_it_holds_nothing(client: Client) -> None:
    answer = await client.get("/bridge/dashboard/")
    assert answer.status == 200
    assert answer.content_type == "text/html"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_token_is_traded_for_a_cookie_that_no_script_sees(client: Client) -> None:
    answer = await log_in(client)
    assert answer.status == 204
    cookie = answer.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
    assert cookie["path"] == ""  # the directory of the login, whatever a proxy calls it
    assert TOKEN not in cookie.value
    assert (await client.get("/bridge/dashboard/session")).status == 200


async def test_a_cookie_is_for_https_alone_where_the_login_was(client: Client) -> None:
    answer = await client.post(
        "/bridge/dashboard/login", json={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"}
    )
    assert answer.cookies[COOKIE]["secure"] is True


@pytest.mark.parametrize("given", ["", "wrong", TOKEN + "x", TOKEN[:-1], "\ud800", "é"])
async def test_another_token_is_refused(client: Client, given: str) -> None:
    assert (await log_in(client, given)).status in {400, 401}
    assert (await client.get("/bridge/dashboard/session")).status == 401


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token":5}', b"\xff", b"token=x"])
async def test_what_is_no_login_is_refused(client: Client, body: bytes) -> None:
    assert (await client.post("/bridge/dashboard/login", data=body)).status == 400


@pytest.mark.parametrize("forged", ["{ends}.{short}", "9{ends}.{digest}", "x", "{ends}.", ".{digest}"])
async def test_a_forged_cookie_is_refused(client: Client, forged: str) -> None:
    ends, digest = (await log_in(client)).cookies[COOKIE].value.split(".")
    client.session.cookie_jar.clear()
    cookie = forged.format(ends=ends, digest=digest, short=digest[:-1])
    answer = await client.get("/bridge/dashboard/session", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert answer.status == 401


async def test_a_cookie_ends(client: Client, clock: Clock) -> None:
    await log_in(client)
    clock.now += LASTS_S + 1
    assert (await client.get("/bridge/dashboard/session")).status == 401


async def test_a_bearer_token_does_as_well(client: Client) -> None:
    answer = await client.get("/bridge/dashboard/session", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status, await answer.json()) == (200, {"logged_in": True})


async def test_logging_out_takes_the_cookie_back(client: Client) -> None:
    await log_in(client)
    assert (await client.post("/bridge/dashboard/logout", headers={MARK: "1"})).status == 204
    assert (await client.get("/bridge/dashboard/session")).status == 401


@pytest.mark.parametrize(
    "headers", [{}, {MARK: "1", "Sec-Fetch-Site": "cross-site"}, {MARK: "1", "Sec-Fetch-Site": "same-site"}]
)
async def test_another_site_changes_nothing_even_with_the_cookie(
    client: Client, headers: dict[str, str]
) -> None:
    await log_in(client)
    assert (await client.post("/bridge/dashboard/logout", headers=headers)).status == 403
    assert (await client.get("/bridge/dashboard/session")).status == 200


@pytest.mark.parametrize("token", [""])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:6066", 200),
        ("localhost", 200),
        ("[::1]:6066", 200),
        ("evil.example:6066", 403),
        ("evil.example", 403),
    ],
)
async def test_without_a_token_no_name_made_to_mean_this_machine_is_answered(
    client: Client, host: str, status: int
) -> None:
    assert (await client.get("/bridge/dashboard/session", headers={"Host": host})).status == status


async def events(answer: ClientResponse, count: int) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    name = ""
    while len(found) < count:
        line = (await answer.content.readline()).decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found


async def test_the_stream_begins_with_the_history_and_goes_on_with_the_seconds(
    client: Client, board: FakeBoard
) -> None:
    await log_in(client)
    answer = await client.get("/bridge/dashboard/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["X-Accel-Buffering"] == "no"
    for second in (2, 3):
        board.seconds.put_nowait(b'{"at":%d}' % second)
    assert await events(answer, 3) == [
        ("history", {"at": [1.0]}),
        ("second", {"at": 2}),
        ("second", {"at": 3}),
    ]


async def test_a_page_that_is_closed_is_watched_by_nobody(client: Client, board: FakeBoard) -> None:
    await log_in(client)
    answer = await client.get("/bridge/dashboard/events")
    await events(answer, 1)
    assert board.watchers == 1
    answer.close()
    await eventually(lambda: board.seconds.put_nowait(b"{}") or board.watchers == 0)


async def test_the_stream_ends_with_the_worker(client: Client, board: FakeBoard) -> None:
    await log_in(client)
    answer = await client.get("/bridge/dashboard/events")
    board.seconds.put_nowait(None)
    assert (await answer.read()).endswith(b"\n\n")
    assert board.watchers == 0


async def test_too_many_pages_are_told_so(client: Client, board: FakeBoard) -> None:
    await log_in(client)
    board.is_full = True
    assert (await client.get("/bridge/dashboard/events")).status == 503


async def test_the_way_to_the_page_holds_behind_a_proxy(client: Client) -> None:
    answer = await client.get("/bridge/dashboard", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "dashboard/")


def test_every_path_in_the_page_is_relative_and_none_leads_outside() -> None:
    for path in FILES.rglob("*"):
        if path.is_file() and path.parent.name != "vendor":
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text, path
            assert "https://" not in text, path
            for kind in ('src="/', 'href="/', 'fetch("/', "url("):
                assert kind not in text, path


async def test_every_file_that_the_page_names_is_served(client: Client) -> None:
    names = [path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()]
    assert {"app.js", "style.css", "vendor/uPlot.iife.min.js", "vendor/uPlot.LICENSE.txt"} <= set(names)
    for name in names:
        assert (await client.get(f"/bridge/dashboard/{name}")).status == 200, name
    assert (await client.get("/bridge/dashboard/../login.py")).status == 404


def test_the_page_explains_every_reason() -> None:
    text = (FILES / "reasons.js").read_text()
    assert [reason for reason in Reason if f"  {reason}: [" not in text] == []
