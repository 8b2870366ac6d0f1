"""Run the benchmarks, or the one that is named; each prints one line of JSON."""

import argparse
import importlib
import sys

BENCHMARKS = {
    "dedupe": 300,
    "generator": 20,
    "steps": 30,
    "bookkeeping": 30,
    "worst": 20,
    "ingress": 60,
    "pipeline": 150,
    "latency": 150,
    "hostile": 600,
    "attacks": 330,
    "backlog": 240,
    "ingest": 60,
}
"""How many seconds each takes on two cores, by its name."""


def main() -> None:
    """Hand the arguments after a name to that benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="all of them without it")
    options, rest = parser.parse_known_args()
    if not options.name:
        print(f"all benchmarks, about {sum(BENCHMARKS.values()) / 60:.0f} minutes", file=sys.stderr)
    for name in [options.name] if options.name else BENCHMARKS:
        importlib.import_module(f"benchmarks.{name}").main(rest)


if __name__ == "__main__":
    main()
