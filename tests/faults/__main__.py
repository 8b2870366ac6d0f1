"""``./dev faults``: half an hour in which everything goes wrong, and what came of it as one JSON line.

Exit code 1 if anything was lost, doubled or late, 3 if a part is not installed. The same seed repeats the
order of the faults.
"""

import argparse
import asyncio
import json
import random
import sys
from dataclasses import replace

from tests.faults.plan import (
    Plan,
    brokers_form,
    disks_form,
    histories_form,
    long_form,
    only,
    read_fault,
    short_form,
    these,
)
from tests.faults.storm import Storm
from tests.parts.process import MissingPartError

MISSING_PART = 3
FORMS = {
    "long": long_form,
    "short": short_form,
    "histories": histories_form,
    "disks": disks_form,
    "brokers": brokers_form,
}


def main() -> int:
    """Run a storm and return the exit code."""
    options = _options()
    try:
        report = asyncio.run(Storm(_plan(options)).run())
    except MissingPartError as error:
        print(f"./dev faults: {error}", file=sys.stderr)
        return MISSING_PART
    print(json.dumps(report))
    return 0 if report["ok"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument(
        "--short", action="store_const", dest="form", const="short", default="long", help="two minutes"
    )
    parser.add_argument("--form", choices=FORMS, default="long", help="which half hour (short: two minutes)")
    parser.add_argument("--seed", type=int, help="repeats the order of faults of another run")
    parser.add_argument("--rate", type=float, help="messages a second of all devices")
    parser.add_argument("--seconds", type=float, help="how long the devices publish at least")
    parser.add_argument("--only", metavar="KINDS", help="kinds of faults, with commas: cut,stall,outage")
    parser.add_argument(
        "--fault",
        action="append",
        type=read_fault,
        metavar="FAULT",
        help='this fault alone, or several in a row: --fault "outage kafka 300" --fault "freeze worker 60"',
    )
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> Plan:
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    plan = FORMS[options.form](seed)
    if options.fault:
        plan = these(options.fault)
    if options.only:
        plan = only(plan, options.only.split(","))
    changes = {"rate": options.rate, "least_s": options.seconds}
    return replace(plan, **{name: value for name, value in changes.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main())
