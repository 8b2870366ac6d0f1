"""What the dashboard asks of rejected messages and devices, over HTTP: search, replay, dismiss, stop."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from aiohttp import web

from streams.dashboard.task import Chosen, Task
from streams.errors import MetricStreamsError
from streams.web.login import Login
from streams.web.shared import refused

FIELDS = ("tenant", "agent", "metric", "since", "until", "text")
CHANGES = ("replay", "dismiss")
LONGEST_BYTES = 64 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Works(Protocol):
    """`Tasks`, as the pages need them."""

    async def search(self, task: Task) -> dict[str, Any]:
        """List or count."""
        ...

    def change(self, task: Task) -> Any:
        """Begin to replay or to dismiss."""
        ...

    async def cancel(self) -> None:
        """End the change that is under way."""
        ...


class RejectedPages:
    """Answers for the rejected messages.

    Args:
        tasks: do what is asked.
        login: says who may ask.
    """

    def __init__(self, tasks: Works, login: Login) -> None:
        self._tasks = tasks
        self._login = login

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the pages."""
        router.add_get("/rejected/list", self._answering(self._list, self._login.refusal))
        router.add_get("/devices/list", self._answering(self._devices, self._login.refusal))
        for path, handler in {"plan": self._plan, "change": self._change, "stop": self._stop}.items():
            router.add_post(f"/rejected/{path}", self._answering(handler, self._login.refusal_to_change))

    def _answering(
        self,
        handler: Callable[[web.Request], Awaitable[Any]],
        check: Callable[[web.Request], tuple[int, str] | None],
    ) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if refusal := check(request):
                return refused(*refusal)
            try:
                return web.Response(
                    body=msgspec.json.encode(await handler(request)), content_type="application/json"
                )
            except MetricStreamsError as error:
                return refused(HTTPStatus.CONFLICT, str(error))
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
                return refused(HTTPStatus.BAD_REQUEST, str(error))

        return answer

    async def _list(self, request: web.Request) -> dict[str, Any]:
        query = request.query
        chosen = msgspec.convert(
            {name: query[name] for name in FIELDS if name in query}
            | {
                "reasons": [reason for reason in query.getall("reason", []) if reason],
                "coordinates": query.getall("coordinate", []),
                "hidden": query.get("hidden") == "1",
            },
            Chosen,
        )
        return await self._tasks.search(Task("list", chosen, limit=int(query.get("limit", "100"))))

    async def _devices(self, request: web.Request) -> dict[str, Any]:
        query = request.query
        chosen = Chosen(tenant=query.get("tenant", ""), agent=query.get("agent", ""))
        limit, silent_s = int(query.get("limit", "100")), float(query.get("silent_s", "0"))
        return await self._tasks.search(Task("devices", chosen, limit=limit, silent_s=silent_s))

    async def _plan(self, request: web.Request) -> dict[str, Any]:
        return await self._tasks.search(msgspec.structs.replace(await _task(request), does="plan"))

    async def _change(self, request: web.Request) -> Any:
        task = await _task(request)
        if task.does not in CHANGES:
            raise MetricStreamsError(f"{task.does!r} is none of {', '.join(CHANGES)}")
        return self._tasks.change(task)

    async def _stop(self, _request: web.Request) -> dict[str, Any]:
        await self._tasks.cancel()
        return {}


async def _task(request: web.Request) -> Task:
    body = await request.content.read(LONGEST_BYTES)
    return msgspec.json.decode(body, type=Task)
