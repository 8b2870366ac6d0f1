"""A thousand connections that send no whole request neither keep the health pages away nor stay."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout

from tests.acceptance.conftest import Own
from tests.parts.eventually import eventually
from tests.parts.ports import free_port
from tests.parts.variants import long
from tests.parts.visitors import HEAD, visitors
from tests.parts.worker import FaustProcess, Ingest, Worker

MANY = 1_000
CLOSED_WITHIN_S = 40.0
"""The limit is 10 s; the machine may have other work."""


def nowhere() -> dict[str, str]:
    """Return the settings of a process none of whose parts is there: its pages answer all the same."""
    port = free_port()
    return {
        "BROKER_URL": f"kafka://127.0.0.1:{port}",
        "MQTT_URL": f"mqtt://127.0.0.1:{port}",
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{port}/none",
    }


def worker() -> FaustProcess:
    return Worker(nowhere(), wait="/health/live")


class ServingIngest(Ingest):
    """Ingest with its pages; ready when they answer."""

    def __init__(self) -> None:
        super().__init__(nowhere())
        self._settings["INGEST_WEB_PORT"] = str(self.port)

    def is_ready(self) -> bool:
        return Worker.status(self, "/health/live") == 200  # type: ignore[arg-type]  # all it needs is the URL


@pytest.mark.parametrize("make", [worker, long(ServingIngest)], ids=["worker", "ingest"])
@pytest.mark.parametrize(
    ("first", "every_s"),
    [long(HEAD, None), (b"", None), (b"GET / HTTP/1.1\r\nX: ", 1.0)],
    ids=["half a head", "not a byte", "a byte a second"],
)
async def test_they_are_closed_and_liveness_answers_meanwhile(
    own: Own, make: Callable[[], Any], first: bytes, every_s: float | None
) -> None:
    part = own(make)
    part.start()
    async with (
        visitors(part.port, MANY, first, every_s=every_s) as half_open,
        ClientSession(part.web_url, timeout=ClientTimeout(total=10)) as client,
    ):
        for _ in range(5):
            async with client.get("/health/live", headers={"Connection": "close"}) as answer:
                assert answer.status == 200
        await eventually(lambda: half_open.closed == MANY, CLOSED_WITHIN_S)
    assert "the most that they keep" in part.log_text()
