"""What the page may ask of the rejected messages, and how a refusal is told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from streams.dashboard.task import Chosen, Task
from streams.errors import MetricStreamsError
from streams.web.login import MARK, Login
from streams.web.rejected_pages import RejectedPages

TOKEN = "a token that is long enough"  # noqa: S105 - of this test alone
MAY = {"Authorization": f"Bearer {TOKEN}"}
MAY_CHANGE = MAY | {MARK: "1"}
Client = TestClient[web.Request, web.Application]


class FakeTasks:
    def __init__(self) -> None:
        self.asked: list[Task] = []
        self.refusal = ""
        self.is_cancelled = False

    async def search(self, task: Task) -> dict[str, Any]:
        return self._note(task)

    def change(self, task: Task) -> dict[str, Any]:
        return self._note(task)

    def _note(self, task: Task) -> dict[str, Any]:
        if self.refusal:
            raise MetricStreamsError(self.refusal)
        self.asked.append(task)
        return {"counted": 3}

    async def cancel(self) -> None:
        self.is_cancelled = True


@pytest.fixture
def tasks() -> FakeTasks:
    return FakeTasks()


@pytest.fixture
async def client(tasks: FakeTasks) -> AsyncIterator[Client]:
    application = web.Application()
    RejectedPages(tasks, Login(TOKEN)).add_to(application.router)
    async with TestClient(TestServer(application)) as client:
        yield client


async def test_a_search_is_handed_on_as_it_was_asked(client: Client, tasks: FakeTasks) -> None:
    query = (
        "reason=value_missing&reason=&tenant=1*&text=%26&since=2h&hidden=1&limit=7&coordinate=1-2-3&strange=1"
    )
    answer = await client.get(f"/rejected/list?{query}", headers=MAY)
    assert await answer.json() == {"counted": 3}
    chosen = Chosen(["value_missing"], tenant="1*", text="&", since="2h", hidden=True, coordinates=["1-2-3"])
    assert tasks.asked == [Task("list", chosen, limit=7)]


async def test_devices_are_asked_for_as_they_were_chosen(client: Client, tasks: FakeTasks) -> None:
    answer = await client.get("/devices/list?agent=edge-*&silent_s=600&limit=5", headers=MAY)
    assert answer.status == 200
    assert tasks.asked == [Task("devices", Chosen(agent="edge-*"), limit=5, silent_s=600.0)]
    assert (await client.get("/devices/list")).status == 401


async def test_a_count_is_a_plan_whatever_it_says(client: Client, tasks: FakeTasks) -> None:
    body = {"does": "replay", "chosen": {"reasons": ["tenant_unknown"]}}
    assert (await client.post("/rejected/plan", json=body, headers=MAY_CHANGE)).status == 200
    assert tasks.asked == [Task("plan", Chosen(["tenant_unknown"]))]


async def test_a_replay_is_pinned_to_what_was_counted(client: Client, tasks: FakeTasks) -> None:
    body = {"does": "replay", "chosen": {}, "ends": {"0": 7}, "rate": 100}
    assert (await client.post("/rejected/change", json=body, headers=MAY_CHANGE)).status == 200
    assert tasks.asked == [Task("replay", ends={0: 7}, rate=100.0)]


async def test_it_can_be_stopped(client: Client, tasks: FakeTasks) -> None:
    assert (await client.post("/rejected/stop", headers=MAY_CHANGE)).status == 200
    assert tasks.is_cancelled


async def test_why_it_cannot_be_done_is_told(client: Client, tasks: FakeTasks) -> None:
    tasks.refusal = "kafka is away"
    answer = await client.get("/rejected/list", headers=MAY)
    assert (answer.status, await answer.json()) == (409, {"error": "kafka is away"})


@pytest.mark.parametrize("path", ["plan", "change", "stop"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        (MAY, 403),
        ({MARK: "1"}, 401),
        (MAY_CHANGE | {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_who_may_not_changes_nothing(
    client: Client, tasks: FakeTasks, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(f"/rejected/{path}", json={"does": "replay"}, headers=headers)
    assert answer.status == status
    assert tasks.asked == []
    assert not tasks.is_cancelled


async def test_who_may_not_reads_nothing(client: Client, tasks: FakeTasks) -> None:
    assert (await client.get("/rejected/list")).status == 401
    assert tasks.asked == []


@pytest.mark.parametrize("does", ["list", "plan", "rm -rf", ""])
async def test_nothing_else_is_a_change(client: Client, tasks: FakeTasks, does: str) -> None:
    answer = await client.post("/rejected/change", json={"does": does}, headers=MAY_CHANGE)
    assert answer.status == 409
    assert tasks.asked == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"does":3}', b"\xff", b'{"does":"replay","ends":{"x":1}}'])
async def test_what_cannot_be_read_is_refused(client: Client, tasks: FakeTasks, body: bytes) -> None:
    assert (await client.post("/rejected/change", data=body, headers=MAY_CHANGE)).status == 400
    assert tasks.asked == []


async def test_a_limit_that_is_no_number_is_refused(client: Client) -> None:
    assert (await client.get("/rejected/list?limit=many", headers=MAY)).status == 400
