"""Fuzz on demand: ``python -m tests.fuzz [target] [--seconds N]``, and ``--replay FILE`` for one input."""

import argparse
import sys
from pathlib import Path

from tests.fuzz.campaign import FOUND, NO_ENGINE, fuzz, has_engine
from tests.fuzz.targets import load, names


def main() -> int:
    """Fuzz the targets one after the other; return 1 if one fails."""
    options = _options()
    targets = options.target or names()
    if options.replay:
        (target,) = targets
        load(target).fuzz(options.replay.read_bytes())
        print(f"{target}: the input passes")
        return 0
    if not has_engine():
        print(NO_ENGINE, file=sys.stderr)
        return 1
    return max([_fuzz(target, options.seconds) for target in targets])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"which of {', '.join(names())}; all if none is named")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a target on one input")
    options = parser.parse_args()
    unknown = set(options.target) - set(names())
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    if options.replay and len(options.target) != 1:
        parser.error("--replay needs the one target that the input is for")
    return options


def _fuzz(target: str, seconds: float) -> int:
    outcome = fuzz(target, seconds, FOUND / "corpus" / target, FOUND / "failures" / target, quiet=False)
    print(f"\n── {target}: {outcome.figures}")
    if outcome.failed:
        print(outcome.explain())
    return int(outcome.failed)


if __name__ == "__main__":
    sys.exit(main())
