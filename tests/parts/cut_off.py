"""A command of the project that is killed in the middle, as SIGKILL would.

``python -m tests.parts.cut_off aiokafka:AIOKafkaProducer.send 3 partitions 8 --yes`` dies when the third call
of that function is over.
"""

import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from itertools import count
from typing import Any


def die_at(path: str, call: int) -> None:
    """Let this process die when a coroutine function, ``module:name``, has been called so often."""
    module, _, name = path.partition(":")
    *owners, name = name.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    setattr(owner, name, _mortal(getattr(owner, name), call))


def _mortal(function: Callable[..., Awaitable[Any]], call: int) -> Callable[..., Awaitable[Any]]:
    calls = count(1)

    @wraps(function)
    async def dies(*args: Any, **kwargs: Any) -> Any:
        done = await function(*args, **kwargs)
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return dies


if __name__ == "__main__":
    _, where, number, *arguments = sys.argv
    sys.argv[1:] = arguments
    die_at(where, int(number))
    from streams.commands.program import run

    run()
