"""Redis behind something that accepts and resets, as a proxy does while Redis restarts: that is an outage."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import uvloop

from streams.errors import Outage
from streams.laravel.redis_client import connect
from streams.laravel.redis_outages import answered

RESETS = """
import socket, struct
listener = socket.create_server(("127.0.0.1", 0), backlog=200)
print(listener.getsockname()[1], flush=True)
while True:
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
"""
TASKS, TIMES = 8, 100


@pytest.fixture
def resetting_url() -> Iterator[str]:
    """The address of one that resets each connection, in a process of its own: both are to run at once."""
    with subprocess.Popen([sys.executable, "-c", RESETS], stdout=subprocess.PIPE, text=True) as resetting:
        assert resetting.stdout is not None
        yield f"redis://127.0.0.1:{int(resetting.stdout.readline())}/0"
        resetting.kill()


def test_a_connection_that_is_reset_is_an_outage_on_the_loop_that_the_programs_run_on(
    resetting_url: str,
) -> None:
    """Where the reset comes before the first command is written, uvloop raises a RuntimeError."""
    met: Counter[type[BaseException] | None] = Counter()

    async def ask() -> None:
        redis = connect(resetting_url)

        async def again_and_again() -> None:
            for _ in range(TIMES):
                try:
                    await answered(redis.ping())
                except Exception as error:  # noqa: BLE001 - what it is, is what is asked
                    met[type(error)] += 1

        await asyncio.gather(*(again_and_again() for _ in range(TASKS)))
        await redis.aclose()

    uvloop.run(ask())
    assert met == {Outage: TASKS * TIMES}
