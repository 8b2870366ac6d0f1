"""Run the benchmarks, or the one that is named; each prints one line of JSON."""

import argparse
import importlib

BENCHMARKS = ["dedupe", "generator", "pipeline", "latency"]


def main() -> None:
    """Hand the arguments after a name to that benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="all of them without it")
    options, rest = parser.parse_known_args()
    for name in [options.name] if options.name else BENCHMARKS:
        importlib.import_module(f"benchmarks.{name}").main(rest)


if __name__ == "__main__":
    main()
