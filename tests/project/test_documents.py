"""The documents can be read in a terminal, and what they and the docstrings name is there."""

import re
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from pydantic_core import PydanticUndefined

from benchmarks.__main__ import BENCHMARKS
from streams.commands.program import COMMANDS
from streams.models import Reason
from streams.settings import Settings

REPOSITORY = Path(__file__).parents[2]
WIDTH = 120
DOCUMENTS = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").rglob("*.md"),
    *(REPOSITORY / "tests").rglob("*.md"),
    *(REPOSITORY / "benchmarks").rglob("*.md"),
]
SOURCES = [
    path
    for package in ("agents", "tables", "streams", "benchmarks")
    for path in (REPOSITORY / package).rglob("*.py")
]
FAUST = {"worker", "agents", "model", "models", "tables", "reset", "send", "livecheck", "clean-versions"}
"""Commands that Faust itself has."""
NOT_SETTINGS = {
    "KAFKA_LIBS",
    "SASL_SSL",
    "SASL_PLAINTEXT",
    "NAME_FILE",
    "POSTGRES_PASSWORD",
    "GRAFANA_PASSWORD",
}
"""Words that look like settings: of the tests, of docker-compose.yml, a value of one, or a pattern."""
FAUSTS_FILES = {"tables/recovery.py"}

SETTING = re.compile(r"`(?:export )?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`")
SETTING_WITH_VALUE = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)` \((\d[\d,.]*)(?: ?\w+)?\)")
DEV_COMMAND = re.compile(r"\./dev ([a-z]+)")
BENCHMARK = re.compile(r"\./dev bench ([a-z]+)")
COMMAND = re.compile(r"(?:faust -A streams|(?:^|``?|\$ )metric-streams) ([a-z]+(?:-[a-z]+)*)", re.MULTILINE)
FILE = re.compile(r"``?((?:agents|tables|streams|tests|benchmarks|docs|docker|\.ci)/[\w./-]*\w)``?")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
each_text = pytest.mark.parametrize(
    "path", [*DOCUMENTS, *SOURCES], ids=lambda path: str(path.relative_to(REPOSITORY))
)


def long_lines(text: str) -> Iterator[str]:
    """Yield the lines of prose that are too long; tables, pictures and what is to be copied may be."""
    is_code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif len(line) > WIDTH and not is_code and not line.startswith(("|", "![")):
            yield line


def dev() -> ModuleType:
    loader = SourceFileLoader("dev_of_documents", str(REPOSITORY / "dev"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@each_document
def test_prose_is_no_wider_than_a_terminal(path: Path) -> None:
    assert list(long_lines(path.read_text())) == []


@each_document
def test_no_chapter_is_there_twice(path: Path) -> None:
    if path.name != "CHANGELOG.md":  # whose versions have the same chapters
        headings = re.findall(r"^#+ .*", path.read_text(), re.MULTILINE)
        assert len(headings) == len(set(headings))


@each_document
def test_settings_that_are_named_exist(path: Path) -> None:
    if path.name == "CHANGELOG.md":  # which names what has gone, too
        return
    known = {name.upper() for name in Settings.model_fields}
    named = set(SETTING.findall(path.read_text())) - NOT_SETTINGS
    assert {name for name in named if name not in known and name.removesuffix("_FILE") not in known} == set()


@each_document
def test_a_default_that_is_told_beside_a_setting_is_the_default(path: Path) -> None:
    for name, value in SETTING_WITH_VALUE.findall(path.read_text()):
        default = Settings.model_fields[name.lower()].default
        assert default is not PydanticUndefined
        assert float(value.replace(",", "")) == float(default), name


@each_text
def test_commands_that_are_named_exist(path: Path) -> None:
    if path.name == "CHANGELOG.md":  # which names what has gone, too
        return
    text = path.read_text()
    assert set(DEV_COMMAND.findall(text)) <= {*dev().COMMANDS, "install"}
    assert set(BENCHMARK.findall(text)) <= set(BENCHMARKS)
    assert set(COMMAND.findall(text)) <= FAUST | COMMANDS.keys()


@each_text
def test_files_that_are_named_exist(path: Path) -> None:
    named = set(FILE.findall(path.read_text())) - FAUSTS_FILES
    assert {name for name in named if not (REPOSITORY / name).exists()} == set()


def test_each_folder_of_tests_says_what_is_in_it() -> None:
    folders = [path for path in (REPOSITORY / "tests").iterdir() if (path / "__init__.py").exists()]
    assert [path.name for path in folders if not (path / "README.md").exists()] == []


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    links = set(LINK.findall(path.read_text()))
    assert {link for link in links if not (path.parent / link).exists()} == set()


@pytest.mark.parametrize("reason", Reason)
def test_the_dashboard_says_what_each_reason_means_and_what_mends_it(reason: Reason) -> None:
    script = (REPOSITORY / "streams" / "web" / "dashboard" / "reasons.js").read_text()
    assert re.search(rf'^  {reason}: \["[^"]+\.", "[^"]+\."\],$', script, re.MULTILINE)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (SETTING, "set `CHUNK_LINGER` to 3", ["CHUNK_LINGER"]),
        (SETTING_WITH_VALUE, "`CHUNK_LINGER_MS` (2.5 ms)", [("CHUNK_LINGER_MS", "2.5")]),
        (DEV_COMMAND, "run `./dev tests`", ["tests"]),
        (BENCHMARK, "see `./dev bench packets`", ["packets"]),
        (COMMAND, "`faust -A streams tenant add`", ["tenant"]),
        (COMMAND, "    metric-streams cannot start", []),
        (COMMAND, "metric-streams setup --database", ["setup"]),
        (FILE, "``streams/mqtt/nothing.py``", ["streams/mqtt/nothing.py"]),
        (LINK, "[here](docs/nothing.md#part)", ["docs/nothing.md"]),
    ],
)
def test_what_is_named_is_found(pattern: re.Pattern[str], text: str, found: list[object]) -> None:
    assert pattern.findall(text) == found


def test_long_prose_is_found_and_a_long_table_is_not() -> None:
    long = "word " * 30
    assert list(long_lines(f"{long}\n| {long} |\n```sh\n{long}\n```\n{long}")) == [long, long]
