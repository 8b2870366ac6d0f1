"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

_INTERVAL_S = 0.02
_TIMEOUT_S = 30.0
"""Long: it costs nothing where all is well, and tests run on machines that have other work, too."""

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Coroutine[Any, Any, T]], timeout_s: float = ..., *, interval_s: float = ...
) -> T: ...


@overload
async def eventually(condition: Callable[[], T], timeout_s: float = ..., *, interval_s: float = ...) -> T: ...


async def eventually(
    condition: Callable[[], Any], timeout_s: float = _TIMEOUT_S, *, interval_s: float = _INTERVAL_S
) -> Any:
    """Return the first true value of `condition`, a plain or an async function.

    Raises:
        AssertionError: if there is none within `timeout_s`, with the last value that was seen.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = condition()
        value = await seen if inspect.isawaitable(seen) else seen
        if value:
            return value
        _check(deadline, timeout_s, condition, value)
        await asyncio.sleep(interval_s)


def eventually_sync(
    condition: Callable[[], T], timeout_s: float = _TIMEOUT_S, *, interval_s: float = _INTERVAL_S
) -> T:
    """Do as `eventually` does, where there is no event loop."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        _check(deadline, timeout_s, condition, value)
        time.sleep(interval_s)
    return value


def _check(deadline: float, timeout_s: float, condition: Callable[[], object], value: object) -> None:
    if time.monotonic() >= deadline:
        name = getattr(condition, "__qualname__", repr(condition))
        raise AssertionError(f"{name} did not come true within {timeout_s:g} s; last seen: {value!r}")
