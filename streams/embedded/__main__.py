"""``python -m streams.embedded run [--seconds N]``, which is what ``./dev run`` calls."""

import argparse
import asyncio
import math
import signal
import sys
import time
from typing import NoReturn

import msgspec

from streams.embedded import wording
from streams.embedded.child import PartFailed
from streams.embedded.demonstration import Demonstration
from streams.errors import MetricStreamsError

INTERRUPTED = 130  # what a shell reports for a command that Ctrl+C ended


def main() -> int:
    """Run the demonstration; its last line on stdout is the ledger as JSON.

    Returns:
        0; or 1 if the ledger does not add up or a part failed; or 130 if it was interrupted while starting.
    """
    seconds = _arguments().seconds
    try:
        return asyncio.run(_run(seconds))
    except PartFailed as failure:
        sys.stderr.write(f"\n{failure}\n")
    except MetricStreamsError as error:
        sys.stderr.write(f"\nended early: {error}\n")
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    return 1


async def _run(seconds: float | None) -> int:
    task = asyncio.current_task()
    for caught in (
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # as asyncio.run does with SIGINT; later, the demonstration
        asyncio.get_running_loop().add_signal_handler(caught, task.cancel if task else lambda: None)
    began = time.monotonic()
    ledger, all_well = await Demonstration(seconds, _tell).run()
    _tell(wording.conclusion(ledger))
    entries = msgspec.to_builtins(ledger) | {"seconds": round(time.monotonic() - began, 1)}
    _tell(msgspec.json.encode(entries).decode())
    return 0 if all_well else 1


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # also where it goes to a file that someone watches


class _OneLine(argparse.ArgumentParser):
    """Tells what is wrong with the arguments in one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help tells more\n")


def _arguments() -> argparse.Namespace:
    parser = _OneLine(prog="./dev", description="The whole pipeline on one machine.")
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="start everything, with a simulated fleet of devices")
    run.add_argument(
        "--seconds", type=_seconds, help="stop by itself, print the ledger, exit 1 unless it adds up"
    )
    return parser.parse_args()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, such as 60, not {text!r}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
