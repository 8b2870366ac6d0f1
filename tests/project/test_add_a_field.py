"""A field more takes the steps of ARCHITECTURE.md, "To add a field", and each that is left out is noticed.

They are taken on a copy of the project, for a field that no device sends.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.parts.variants import long_but

ROOT = Path(__file__).parents[2]
COPIED = ("agents", "streams", "tables", "tests", "pyproject.toml", "metric_streams.py")
MODELS, NAMES = "streams/models.py", "streams/rules/names.py"
FAST, MIGRATIONS = "agents/fast_path.py", "streams/database/migrations.py"


class Step(NamedTuple):
    """A change to one file: what is put behind a text that stands there."""

    path: str
    behind: str
    put: str


STEPS = {
    "the list": Step(MODELS, "FURTHER: tuple[str, ...] = (", '"colour", '),
    "the payload": Step(MODELS, "    dedupe_id: object = None\n", "    colour: object = None\n"),
    "the reading": Step(MODELS, 'where the device sent none."""\n', "    colour: str | None = None\n"),
    "the job": Step(
        MODELS,
        'for the time at which the job runs."""\n    dedupe_id: str | None\n',
        "    colour: str | None = None\n",
    ),
    "the reason": Step(
        MODELS, 'DEDUPE_ID_INVALID = "dedupe_id_invalid"\n', '    COLOUR_INVALID = "colour_invalid"\n'
    ),
    "the rule": Step(NAMES, '{"dedupe_id": read_dedupe_id', ', "colour": _read_colour'),
    "the usual payload": Step(FAST, "    dedupe_id: str\n", "    colour: str | None = None\n"),
    "the usual check": Step(
        FAST,
        """or "\\0" in dedupe_id:\n        return None\n""",
        "    if payload.colour is not None and not 0 < len(payload.colour) <= 16:\n        return None\n",
    ),
    "the usual reading": Step(FAST, "        key=id_.hex(),\n", "        colour=payload.colour,\n"),
    "the usual content": Step(FAST, "content(series, value, time", ', [("colour", payload.colour)]'),
    "the column": Step(
        MIGRATIONS,
        'on conflict do nothing"  # noqa: S608 - a constant\n',
        'ADDED = (*ADDED, NewColumn(len(ADDED) + 1, "metrics_raw", "colour", "varchar(16)"))\n',
    ),
    "the dashboard": Step(
        "streams/web/dashboard/reasons.js",
        "export const REASONS = {\n",
        '  colour_invalid: ["Not so.", "So."],\n',
    ),
}
RULE = Step(
    NAMES,
    "_LONGEST_INTEGER = 10**DEDUPE_ID_LENGTH\n",
    """

def _read_colour(value: object) -> str | Problem | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= 16 and not _UNSTORABLE.search(value)):
        return value
    return Problem(Reason.COLOUR_INVALID, "no colour")
""",
)
NOTICE = (
    "tests/unit/test_fields.py",
    "tests/unit/web/test_dashboard_pages.py::test_the_page_explains_every_reason",
)
HOLD = (
    *NOTICE,
    "tests/unit/laravel/test_command.py",
    "tests/unit/agents/test_fast_path.py",
    "tests/unit/wire/test_unique_and_rejected.py",
)

Take = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Take all steps but one on a copy, and run what is to notice that."""

    def taken(left_out: str, tests: Sequence[str] = NOTICE) -> subprocess.CompletedProcess[str]:
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, tmp_path / name)
        for name, step in {**STEPS, "what the rule is": RULE}.items():
            path = tmp_path / step.path
            before, text, after = path.read_text().partition(step.behind)
            assert text, f"{step.path} has no {step.behind!r} any more"
            path.write_text(before + text + (step.put if name != left_out else "") + after)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return taken


def test_with_every_step_a_field_goes_from_the_payload_to_the_row(take: Take) -> None:
    done = take("", HOLD)
    assert done.returncode == 0, done.stdout


SOME = list(STEPS)[::4]


@pytest.mark.parametrize("step", long_but(SOME, STEPS))
def test_a_step_that_is_left_out_is_noticed(take: Take, step: str) -> None:
    done = take(step)
    assert "colour" in done.stdout
    assert done.returncode in {1, 2, 4}, done.stdout
