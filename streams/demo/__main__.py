"""``python -m streams.demo run``, ``psql``, ``tail`` and so on: what ``./dev`` calls by these names.

It reads the arguments before anything else is imported, so that a mistake in them is told at once.
"""

import argparse
import math
import signal
import sys
from typing import NoReturn

DESCRIPTION = "The whole pipeline on one machine."
HANDED_ON = (
    "psql",
    "doctor",
    "tail",
    "top",
    "trace",
    "explain",
    "rejected",
    "devices",
    "tenants",
    "simulate",
)
"""What is called on a run that is under way, with arguments of its own (`streams.demo.attached`)."""


def main() -> int:
    """Run one of the commands and return its exit code."""
    # Until something has started there is nothing to stop: Ctrl+C just ends the process, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    options, rest = _arguments()
    if options.command == "psql":
        from streams.demo.psql import psql  # noqa: PLC0415 - see above

        psql(rest)
    if options.command != "run":
        from streams.demo.attached import call_on_a_run  # noqa: PLC0415 - see above

        call_on_a_run(options.command, rest)
    from streams.demo.run import run  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run(options.seconds, as_json=options.as_json)


class _OneLine(argparse.ArgumentParser):
    """Tells what is wrong with the arguments in one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help tells more\n")


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    if sys.argv[1:2] and sys.argv[1] in HANDED_ON:  # all that follows is for it, its --help included
        return argparse.Namespace(command=sys.argv[1]), sys.argv[2:]
    parser = _OneLine(prog="./dev", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    run = commands.add_parser("run", help="start everything, with a simulated fleet of devices")
    run.add_argument(
        "--seconds", type=_seconds, help="stop by itself, print the ledger, exit 1 unless it adds up"
    )
    run.add_argument(
        "--json",
        dest="as_json",
        action="store_true",
        help="print the ledger as JSON; it is also the last line wherever stdout is no terminal",
    )
    commands.add_parser("psql", help="query the database of a run; arguments go to psql")
    for name in HANDED_ON[1:]:
        commands.add_parser(name, help=f"metric-streams {name}, on a run")
    return parser.parse_args(), []


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
