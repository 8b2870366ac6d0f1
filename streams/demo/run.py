"""``./dev run``: one run, shown while it lasts, and its ledger in the end."""

import asyncio
import signal
import sys
import time

import msgspec

from streams.demo import messages as wording
from streams.demo.child import PartFailed
from streams.demo.demonstration import Demonstration
from streams.demo.display import Lines, display
from streams.errors import MetricStreamsError

INTERRUPTED = 130  # what a shell reports for a command that Ctrl+C ended


def run(seconds: float | None, *, as_json: bool) -> int:
    """Run the demonstration.

    Returns:
        0; or 1 if the ledger does not add up or a part failed; or 130 if it was interrupted while starting.
    """
    try:
        return asyncio.run(_run(seconds, as_json=as_json))
    except PartFailed as failure:
        sys.stderr.write(f"\n./dev run: {failure}\n")
    except MetricStreamsError as error:
        sys.stderr.write(f"\n./dev run ended early: {error}\n")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("\n./dev run: interrupted; everything is stopped\n")
        return INTERRUPTED
    return 1


async def _run(seconds: float | None, *, as_json: bool) -> int:
    task = asyncio.current_task()
    # As asyncio.run does with SIGINT; later, the demonstration takes all of them.
    for caught in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(caught, task.cancel if task else lambda: None)
    began = time.monotonic()
    shown = display()
    ledger, all_well = await Demonstration(seconds, shown).run()
    shown.say(wording.conclusion(ledger))
    if as_json or isinstance(shown, Lines):
        entries = msgspec.to_builtins(ledger) | {"seconds": round(time.monotonic() - began, 1)}
        sys.stdout.write(f"{msgspec.json.encode(entries).decode()}\n")
        sys.stdout.flush()
    return 0 if all_well else 1
