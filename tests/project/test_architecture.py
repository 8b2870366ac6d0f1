"""Who may import whom, held on the syntax trees.

Imports go agents → tables → streams, agents meet only at topics, and pure code stays pure.
ARCHITECTURE.md says the same in words.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LAYERS = ["streams", "tables", "agents"]  # each may import itself and those before it
AGENTS = ["agents.ingress", "agents.refine", "agents.handoff"]
STEPS = ["agents.parse", "agents.validate", "agents.dedupe", "agents.stale"]
TABLE_CONTENT = ["tables.state", "tables.decisions", "tables.fingerprints"]
LARAVEL_FORMATS = [
    f"streams.laravel.{name}"
    for name in ("broadcast", "command", "command_reader", "job", "numeric", "php", "php_double", "php_json")
]
PURE = [
    "streams.models",
    "streams.errors",
    "streams.rules",
    "streams.wire",
    *LARAVEL_FORMATS,
    *TABLE_CONTENT,
    *STEPS,
]

# What pure code may use beside itself: nothing here knows a socket, a clock, the environment or a file.
PURE_LIBRARIES = {
    "__future__",
    "abc",
    "array",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "msgspec",
    "xxhash",
    "numbers",
    "operator",
    "re",
    "string",
    "struct",
    "types",
    "typing",
    "unicodedata",
    "uuid",
    "zoneinfo",  # the table of time zones, which happens to be kept in files
}
# The ways to the outside that those libraries and the language itself still leave open.
IMPURE_CALLS = {
    "now",
    "utcnow",
    "today",
    "uuid1",
    "uuid4",
    "open",
    "input",
    "print",
    "__import__",
    "breakpoint",
}

# The app and its settings are built in one place; these alone may ask it for them.
MAY_ASK_THE_APPLICATION = re.compile(
    r"streams|agents\.(ingress|refine|handoff|explain)|streams\.commands\.\w+"
)
MAY_READ_THE_ENVIRONMENT = re.compile(r"streams\.application|streams\.demo(\.\w+)?")
SLEEP = re.compile(r"(time|asyncio)\.sleep\((?!0\))")
HOME_DIRECTORY = re.compile(r"(?<![\w.}$])/(?:home|root|Users)/\w")


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the project by its name, parsed."""
    paths = (path for layer in LAYERS for path in sorted((REPOSITORY / layer).rglob("*.py")))
    return {name_of(path): ast.parse(path.read_text(), str(path)) for path in paths}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def is_part_of(name: str, packages: list[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imported_by(nodes: Iterator[ast.AST]) -> set[str]:
    """Return what these nodes import; ``from a import b`` counts as a.b where that is a module of ours."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: name the package instead of counting dots"
            package = node.module or ""
            names = {f"{package}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else package for name in names}
    return found


def all_imports(name: str) -> set[str]:
    """Return what a module imports anywhere, in functions too."""
    return imported_by(ast.walk(modules()[name]))


def imports_at_import(name: str) -> set[str]:
    """Return what a module imports while it is being imported."""
    return imported_by(iter(modules()[name].body))


def called_names(tree: ast.AST) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {ast.unparse(call).rpartition(".")[2] for call in calls}


def pure_modules() -> list[str]:
    return [name for name in modules() if is_part_of(name, PURE)]


def test_there_is_something_to_look_at() -> None:
    assert {*AGENTS, *STEPS, "streams.models", "streams.application"} <= set(modules())
    assert len(pure_modules()) > len(STEPS) + 2


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_from_agents_over_tables_to_streams(layer: str) -> None:
    above = LAYERS[LAYERS.index(layer) + 1 :]
    for name in modules():
        if is_part_of(name, [layer]):
            upward = {other for other in all_imports(name) if is_part_of(other, above)}
            assert not upward, f"{name} imports {sorted(upward)}"


def test_nobody_imports_an_agent() -> None:
    for name in modules():
        agents = all_imports(name) & set(AGENTS)
        assert not agents, f"{name} imports {sorted(agents)}: agents meet only at topics"


def test_imports_make_no_circle() -> None:
    graph = {name: imports_at_import(name) & set(modules()) for name in modules()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("name", pure_modules())
def test_pure_code_imports_only_pure_code(name: str) -> None:
    for other in all_imports(name):
        known = is_part_of(other, PURE) or other.partition(".")[0] in PURE_LIBRARIES
        assert known, f"{name} is pure, but imports {other}"


@pytest.mark.parametrize("name", pure_modules())
def test_pure_code_asks_no_clock_and_no_file(name: str) -> None:
    impure = called_names(modules()[name]) & IMPURE_CALLS
    assert not impure, f"{name} is pure, but calls {sorted(impure)}"


def test_only_agents_and_commands_ask_for_the_app() -> None:
    asking = {name for name in modules() if "streams.application" in all_imports(name)}
    assert {name for name in asking if not MAY_ASK_THE_APPLICATION.fullmatch(name)} == set()


def test_only_the_application_reads_the_environment() -> None:
    reading = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and ast.unparse(node) in ("os.environ", "os.getenv", "environ")
    }
    assert {name for name in reading if not MAY_READ_THE_ENVIRONMENT.fullmatch(name)} == set()


def test_every_client_of_kafka_is_encrypted_and_logged_in_alike() -> None:
    """The servers' names stand in one place, and what encrypts and logs in beside them."""
    keywords = {
        name: {keyword.arg for keyword in ast.walk(tree) if isinstance(keyword, ast.keyword)}
        for name, tree in modules().items()
    }
    assert [name for name, given in keywords.items() if "bootstrap_servers" in given] == []
    assert "streams.kafka.connection" in keywords


def test_no_file_names_a_home_directory() -> None:
    for path in project_files():
        found = HOME_DIRECTORY.search(path.read_text(errors="replace"))
        assert found is None, f"{path} names {found and found[0]}…"


def test_tests_wait_for_conditions_instead_of_sleeping() -> None:
    waiting = {"tests/parts/eventually.py", "tests/parts/process.py", "tests/faults/pace.py"}
    waiting.add("tests/parts/visitors.py")  # a visitor that is slow is slow by the clock
    for path in (REPOSITORY / "tests").rglob("*.py"):
        if path.relative_to(REPOSITORY).as_posix() not in waiting:
            assert list(sleeps(ast.parse(path.read_text()))) == [], path


def sleeps(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that sleep; ``asyncio.sleep(0)`` only lets others run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and SLEEP.match(ast.unparse(node)):
            yield node.lineno


def project_files() -> Iterator[Path]:
    """Yield the text files of the project: all but what tools leave behind."""
    for path in REPOSITORY.iterdir():
        if path.name in {".ci", "docker", "docs", "tests", "benchmarks", *LAYERS}:
            yield from (
                file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts
            )
        elif path.is_file() and path.name not in {".dev.lock", ".env", ".coverage"}:
            yield path
