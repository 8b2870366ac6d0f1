"""The way of one message through the code: which modules it enters, and how often.

A reader follows calls. Whoever comes back to the same module again and again has to keep all of it in mind.
A call that asks a module and needs no other one for the answer is a look-up, and no station of the way.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType

from tests.unit.agents import test_handoff as handing_off
from tests.unit.agents.test_refine import Bench, chunk, message

REPOSITORY = Path(__file__).parents[2]
LAYERS = ("streams", "tables", "agents")
OFTEN = 2


class Way:
    """Notes the calls from one of our modules to another."""

    def __init__(self) -> None:
        self._entries: dict[FrameType, str] = {}
        self._stations: set[FrameType] = set()

    @property
    def entered(self) -> Counter[str]:
        """How often each module was entered."""
        return Counter(module for frame, module in self._entries.items() if frame in self._stations)

    def follow(self, work: Callable[[], Awaitable[object]]) -> None:
        """Note what is called until some work is done."""

        async def followed() -> None:
            sys.setprofile(self._note)
            try:
                await work()
            finally:
                sys.setprofile(None)

        asyncio.run(followed())

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        module = module_of(frame)
        if event != "call" or module is None:
            return
        callers = list(callers_of(frame))
        if frame in self._entries or (callers and module_of(callers[0]) == module):
            return  # a call within a module; a coroutine that goes on
        self._entries[frame] = module
        # Each on the way here has needed another module.
        self._stations.update(caller for caller in callers if caller in self._entries)


def callers_of(frame: FrameType) -> Iterator[FrameType]:
    """Yield the frames of our modules that are waiting for this one, the nearest first."""
    caller = frame.f_back
    while caller is not None:
        if module_of(caller) is not None:
            yield caller
        caller = caller.f_back


def module_of(frame: FrameType) -> str | None:
    """Return the name of our module that a frame is in; None for another's, a test's or a fake's."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(REPOSITORY):
        return None
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts) if parts[0] in LAYERS and parts[-1] != "testing" else None


def entered() -> Counter[str]:
    """Return how often a message enters each module, in refine and in handoff."""
    refine, handoff = Way(), Way()
    bench, scene = Bench(), handing_off.Scene()
    refinery = bench.refinery()
    usual = chunk(message({"value": 1, "dedupe_id": "one"}), offset=4)
    unusual = chunk(message({"value": 1, "dedupe_id": "two", "agent_id": "another"}), offset=5)
    # What the first message of a worker alone does is no part of the way.
    asyncio.run(refinery.refine([chunk(message({"value": 1, "dedupe_id": "zero"}), offset=3)]))
    refine.follow(lambda: refinery.refine([usual]))
    again = Way()
    again.follow(lambda: refinery.refine([unusual]))
    handoff.follow(lambda: scene.hand_off(handing_off.record(0)))
    return (refine.entered | again.entered) | handoff.entered


def rows() -> Iterator[tuple[str, str]]:
    """Yield what is measured, and what comes out."""
    often = {module: times for module, times in entered().items() if times > OFTEN}
    told = ", ".join(f"{module} {times}" for module, times in sorted(often.items()))
    name = (
        "modules that a message enters more than twice on its way through refine and handoff, look-ups apart"
    )
    yield name, told or "none"
