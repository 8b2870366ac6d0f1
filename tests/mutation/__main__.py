"""Mutants of the pure core: change it in every small way, one at a time, and see whether a unit test notices.

Works in a temporary folder. Prints how many mutants of each file were noticed, and last the total as JSON.
Exits with 1 where that is less than 90 of a hundred. What runs at import, such as constants and regular
expressions, and what is decorated has no mutants.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path

from tests.mutation.scores import Fate, Score, as_json, fates, table, total

REPOSITORY = Path(__file__).parents[2]
SCOPE = (
    *("streams/rules/*.py", "streams/wire/*.py"),
    *(f"agents/{step}.py" for step in ("parse", "validate", "dedupe", "decide", "examine", "fast_path")),
    *(f"tables/{part}.py" for part in ("state", "decisions", "fingerprints", "lineage", "skipped_rows")),
)
TESTS = (
    *(f"tests/unit/{folder}" for folder in ("rules", "wire", "tables")),
    *(f"tests/unit/agents/test_{step}.py" for step in ("parse", "validate", "dedupe", "dedupe_property")),
    *(f"tests/unit/agents/test_{what}.py" for what in ("fast_path", "stale", "bounded_work", "explanation")),
    *("tests/unit/agents/test_refine.py", "tests/unit/last_seen/test_table.py"),
    "tests/unit/rejections/test_replay.py",
)
# These are walks of many steps, which would make a mutant cost seconds.
TOO_SLOW = (
    "tests/unit/tables/test_seen_oracle.py::TestMemories",
    "tests/unit/agents/test_fast_path.py::test_what_is_read_in_one_go_is_what_the_steps_make_of_it",
    "tests/unit/rejections/test_replay.py::test_whatever_the_order_of_replays_the_value_that_came_last_wins",
    "tests/unit/rejections/test_replay.py::test_chunks_hold_every_message_in_order_and_keep_their_limits",
    "tests/unit/last_seen/test_table.py::test_a_hundred_thousand_devices_of_ten_thousand_tenants_fit",
    "tests/unit/last_seen/test_table.py::test_names_that_wait_to_be_worked_out_are_bounded",
)
MUTMUT = os.environ.get("MUTMUT", "mutmut")
"""``./dev mutants`` says where it is."""
LEAST_PERCENT = 90
TOLD_EVERY_S = 30.0
"""How often it is told how far mutmut is, where no terminal shows it."""
SAID_LINES = 40
SETTINGS = """\
[mutmut]
source_paths =
    streams
    agents
    tables
only_mutate =
    {files}
pytest_add_cli_args_test_selection =
    {tests}
pytest_add_cli_args =
    -p
    tests.mutation.quick
    -p
    no:cacheprovider
# Each mutant in a process that has run no test before: no cache holds an answer of the code as it was.
process_isolation = forkserver
# A mutant that runs out of time counts as noticed, and on a busy machine pytest takes a while to start.
timeout_constant = 2.0
timeout_multiplier = 8.0
"""


def main() -> int:
    """Run the mutants that are asked for; return 1 where too few were noticed, 2 where the run broke."""
    options = _options()
    files = _files(options.paths)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        place = options.keep or Path(folder)
        _prepare(place, files)
        code = _run(place)
        if code != 0:
            print(f"nothing was found out: mutmut ended with exit code {code}", file=sys.stderr)
            return 2
        return _report(place, files, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev mutants", description=__doc__)
    parser.add_argument("paths", nargs="*", help="files or folders of the scope; all of it if none is named")
    parser.add_argument("--show", action="store_true", help="print what each mutant changes that survived")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this folder and leave it there")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


def _files(paths: list[str]) -> list[str]:
    """Return the files of the scope, or those that are or lie in what is named."""
    every = sorted({path.relative_to(REPOSITORY) for each in SCOPE for path in REPOSITORY.glob(each)})
    asked = [Path(path).resolve() for path in paths] or [REPOSITORY]
    found = [str(file) for file in every if any((REPOSITORY / file).is_relative_to(path) for path in asked)]
    if not found:
        raise SystemExit(f"./dev mutants: {', '.join(paths)} has nothing of {', '.join(SCOPE)}")
    return found


def _prepare(place: Path, files: list[str]) -> None:
    """Let mutmut find in its folder what it copies, and what it is to do."""
    for name in ("streams", "agents", "tables", "tests", "pyproject.toml"):
        link = place / name
        link.unlink(missing_ok=True)
        link.symlink_to(REPOSITORY / name)
    selected = [*TESTS, *(f"--deselect={test}" for test in TOO_SLOW)]
    settings = SETTINGS.format(files="\n    ".join(files), tests="\n    ".join(selected))
    (place / "setup.cfg").write_text(settings)


def _run(place: Path) -> int:
    """Run mutmut, one mutant at a time: the tests of two would be slower than their time limits allow."""
    # Sets of tests come in one order, so that a run repeats.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [MUTMUT, "run", "--max-children", "1"]
    if sys.stderr.isatty():
        return subprocess.run(command, cwd=place, env=environment, stdout=sys.stderr, check=False).returncode
    lines = deque[str](maxlen=SAID_LINES)
    told = time.monotonic()
    with subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():  # each state of its one line of progress
            lines.append(line.rstrip())
            if time.monotonic() - told > TOLD_EVERY_S:
                told = time.monotonic()
                print(line.rstrip(), file=sys.stderr, flush=True)
    if process.returncode != 0:
        print(*lines, sep="\n", file=sys.stderr)
    return process.returncode


def _report(place: Path, files: list[str], options: argparse.Namespace) -> int:
    by_file = {file: fates(place / "mutants" / f"{file}.meta") for file in files}
    scores = [Score(file, Counter(found.values())) for file, found in by_file.items() if found]
    every = total(scores)
    if options.show:
        left = [name for found in by_file.values() for name, fate in found.items() if fate is Fate.SURVIVED]
        for name in left:
            subprocess.run([MUTMUT, "show", name], cwd=place, check=False)
    print(table([*scores, every]))
    print(as_json(every))
    return int(every.percent < LEAST_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
