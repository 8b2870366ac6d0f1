"""Who may import whom, held on the syntax trees.

Imports go agents → tables → streams, agents meet only at topics, and pure code stays pure.
ARCHITECTURE.md says the same in words.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.project.measures import is_broad

REPOSITORY = Path(__file__).parents[2]
LAYERS = ["streams", "tables", "agents"]  # each may import itself and those before it
AGENTS = ["agents.ingress", "agents.refine", "agents.handoff"]
STEPS = ["agents.parse", "agents.validate", "agents.dedupe"]
TABLE_CONTENT = ["tables.state", "tables.decisions", "tables.fingerprints", "tables.lineage"]
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

# Rooms that must not know of each other, with what they may know all the same.
STRANGERS = {
    "streams.mqtt": [
        "streams.kafka",
        "streams.ingress",
        "streams.laravel",
        "streams.database",
        "streams.web",
    ],
    "streams.kafka": [
        "streams.mqtt",
        "streams.ingress",
        "streams.laravel",
        "streams.database",
        "streams.web",
    ],
    "streams.ingress": ["streams.laravel", "streams.database", "streams.web", "streams.ingest"],
    "streams.laravel": [
        "streams.mqtt",
        "streams.ingress",
        "streams.kafka",
        "streams.database",
        "streams.web",
    ],
    "streams.database": [
        "streams.mqtt",
        "streams.ingress",
        "streams.kafka",
        "streams.laravel",
        "streams.web",
    ],
    "streams.ingest": ["streams.mqtt", "streams.ingress", "streams.kafka", "streams.faust_app"],
    "streams.web": ["streams.commands", "streams.demo"],
}
ACQUAINTED = {
    # handoff's position is a fence that the logs on Kafka bear out.
    ("streams.laravel.fence_positions", "streams.kafka.histories"),
    ("streams.laravel.fence_positions", "streams.kafka.log_reader"),
    ("streams.laravel.fence_positions", "streams.kafka.positions"),
    ("streams.laravel.fence_positions", "streams.kafka.records_cut"),
    ("streams.laravel.replays", "streams.kafka.histories"),
    ("streams.laravel.testing", "streams.kafka.histories"),
    ("streams.laravel.testing", "streams.kafka.log_reader"),
}
# What is imported late, or for its types alone, against the direction of all else.
LATE = {
    ("streams", "streams.application"),  # built when a command line asks for the app
    ("streams", "streams.faust_app"),
    ("streams", "streams.commands.left_out"),
    ("streams.commands.program", "streams"),
    ("streams.config.certificates", "streams.settings"),  # what does not go together is said of all of them
    ("streams.config.clashes", "streams.settings"),
    ("streams.config.logins", "streams.settings"),
}
WITHOUT_FAUST = ["streams.ingest", "streams.web.ingest_pages", "streams.laravel.job", "streams.settings"]
MAY_READ_THE_ENVIRONMENT = re.compile(r"streams\.application|streams\.demo(\.\w+)?")
SLEEP = re.compile(r"(time|asyncio)\.sleep\((?!0\))")
HOME_DIRECTORY = re.compile(r"(?<![\w.}$])/(?:home|root|Users)/\w")


BUILT_AT_IMPORT = """
import gc, importlib
for name in {modules}:
    importlib.import_module(name)
import aiokafka, aiomqtt, asyncpg, faust, redis.asyncio
from streams.counters import Statistics
from streams.settings import Settings
clients = aiokafka.AIOKafkaConsumer, aiokafka.AIOKafkaProducer, aiomqtt.Client, redis.asyncio.Redis
for found in gc.get_objects():
    if isinstance(found, (faust.App, Settings, Statistics, asyncpg.Connection, *clients)):
        print(type(found).__name__)
"""


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
    """Those in functions and those for types alone count as well."""
    graph = {
        name: {other for other in all_imports(name) & set(modules()) if (name, other) not in LATE}
        for name in modules()
    }
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("room", STRANGERS)
def test_rooms_that_have_nothing_to_do_with_each_other_do_not_meet(room: str) -> None:
    met = {
        (name, other)
        for name in modules()
        if is_part_of(name, [room])
        for other in all_imports(name)
        if is_part_of(other, STRANGERS[room])
    }
    assert met - ACQUAINTED == set()


def test_no_exception_of_these_rules_outlives_its_reason() -> None:
    gone = {(name, other) for name, other in LATE | ACQUAINTED if other not in all_imports(name)}
    assert gone == set()


@pytest.mark.parametrize("room", WITHOUT_FAUST)
def test_ingest_and_the_formats_know_no_faust(room: str) -> None:
    """So neither who runs ingest nor who reads a job has to import it."""
    waiting = [name for name in modules() if is_part_of(name, [room])]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        others = imports_at_import(name)
        assert not {other for other in others if is_part_of(other, ["faust"])}, name
        waiting += sorted(others & set(modules()) - reached)
        reached |= others


def test_each_class_has_a_name_of_its_own() -> None:
    """So a name that is read in one file means the same in every other."""
    found: dict[str, list[str]] = {}
    for name, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name)
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_the_product_knows_neither_its_tests_nor_its_benchmarks() -> None:
    for name in modules():
        assert not {other for other in all_imports(name) if is_part_of(other, ["tests", "benchmarks"])}, name


@pytest.mark.parametrize("name", pure_modules())
def test_pure_code_imports_only_pure_code(name: str) -> None:
    for other in all_imports(name):
        known = is_part_of(other, PURE) or other.partition(".")[0] in PURE_LIBRARIES
        assert known, f"{name} is pure, but imports {other}"


@pytest.mark.parametrize("name", pure_modules())
def test_pure_code_asks_no_clock_and_no_file(name: str) -> None:
    impure = called_names(modules()[name]) & IMPURE_CALLS
    assert not impure, f"{name} is pure, but calls {sorted(impure)}"


def test_only_the_package_itself_asks_for_the_app() -> None:
    assert {name for name in modules() if "streams.application" in all_imports(name)} == {"streams"}


def test_nothing_is_built_at_import() -> None:
    """Every module is imported with settings that no app can be built on; then nothing of these is there."""
    program = BUILT_AT_IMPORT.format(modules=sorted(name for name in modules() if not _needs_an_extra(name)))
    environment = {"PATH": os.environ["PATH"], "BROKER_URL": "nonsense", "REDIS_URL": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def _needs_an_extra(name: str) -> bool:
    return name in {"streams.otel", "streams.demo.amqtt_broker"} or name.endswith("__main__")


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


def test_the_clients_of_kafka_are_made_in_one_place() -> None:
    """So that every producer writes by one policy; Faust makes two more, and takes its policy from there."""
    bases = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient"}
    derived = {
        node.name
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and bases & {ast.unparse(base) for base in node.bases}
    }
    making = {name for name, tree in modules().items() if called_names(tree) & (bases | derived)}
    assert derived == {"GatedProducer", "WatchedProducer"}
    assert making == {"streams.kafka.clients"}


def test_whatever_there_is_is_caught_in_four_places_alone() -> None:
    """A bug becomes a rejection, a bug is told from what was foreseen, and two codecs meet strange bytes."""
    catching = {
        name
        for name, tree in modules().items()
        if any(isinstance(node, ast.ExceptHandler) and is_broad(node) for node in ast.walk(tree))
    }
    assert catching == {
        "agents.examine",
        "streams.bugs",
        "streams.mqtt.mqtt5_protocol",
        "streams.mqtt.paho_client",
    }


def test_no_file_names_a_home_directory() -> None:
    for path in project_files():
        found = HOME_DIRECTORY.search(path.read_text(errors="replace"))
        assert found is None, f"{path} names {found and found[0]}…"


def test_tests_wait_for_conditions_instead_of_sleeping() -> None:
    waiting = {"tests/parts/eventually.py", "tests/parts/process.py", "tests/faults/pace.py"}
    waiting.add("tests/parts/visitors.py")  # a visitor that is slow is slow by the clock
    for path in (REPOSITORY / "tests").rglob("*.py"):
        text = path.read_text()
        if "sleep(" in text and path.relative_to(REPOSITORY).as_posix() not in waiting:
            assert list(sleeps(ast.parse(text))) == [], path


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
