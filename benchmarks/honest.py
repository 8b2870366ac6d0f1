"""A device that publishes ten messages a second at QoS 1 over TLS, and notes when each is acknowledged."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from benchmarks.hostile import RATE
from streams.errors import Outage
from tests.parts.accounts import Account, Entrance


@dataclass
class Paced:
    """What was published; Unix times in seconds, by dedupe id."""

    let_in_s: float
    """How long it took until the device was connected."""
    due: dict[str, float] = field(default_factory=dict)
    acknowledged: dict[str, float] = field(default_factory=dict)


async def publish_paced(entrance: Entrance, account: Account, numbers: Sequence[int], wait_s: float) -> Paced:
    """Connect, publish messages of these numbers at the even rate, and wait for what is not acknowledged.

    A connection that is lost is not made again: what is not acknowledged tells of it.

    Raises:
        ConnectionError: the device was not let in.
    """
    paced: Paced | None = None
    asked = time.time()
    with suppress(Outage):
        async with entrance.publisher(account) as device:
            paced = Paced(time.time() - asked)
            began, answers = time.time(), []
            for place, number in enumerate(numbers):
                due = began + place / RATE
                await asyncio.sleep(max(0.0, due - time.time()))
                id_ = f"honest-{number:05d}"
                paced.due[id_] = due
                payload = f'{{"value": 42.17, "dedupe_id": "{id_}"}}'.encode()
                answers.append(device.publish(account.topic, payload, 1))
                answers[-1].add_done_callback(partial(_note, paced, id_))
            await asyncio.wait(answers, timeout=wait_s)
    if paced is None:
        raise ConnectionError("the honest device was not let in")
    return paced


def _note(paced: Paced, id_: str, answer: "asyncio.Future[bool]") -> None:
    if not answer.cancelled() and answer.exception() is None and answer.result():
        paced.acknowledged[id_] = time.time()
