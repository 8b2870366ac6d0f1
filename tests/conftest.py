"""Fixtures for all tests: the real parts, started when first asked for, and names that no two tests share.

A part that is not installed skips the tests that need it, and the last lines say which and what installs it;
where the environment has CI set, it fails them, so that nothing is left out unnoticed.

Tests marked ``long`` run with ``--long`` alone. Each is a variant of one that always runs.
"""

import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import hypothesis
import pytest
from playwright.async_api import Browser

from tests.parts.browser import browsing, chromium
from tests.parts.kafka import Kafka
from tests.parts.mariadb import MariaDb
from tests.parts.mosquitto import Mosquitto
from tests.parts.php import Php
from tests.parts.postgres import Postgres
from tests.parts.process import MissingPartError, Part
from tests.parts.redis import Redis

T = TypeVar("T")
P = TypeVar("P", bound=Part)

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("untimed")

INSTALL = ".ci/install"
MENDED = f"; {INSTALL} installs it"
"""How the reason ends of a skip that this command mends."""
LONG = "a variant that takes long; ./dev test --long runs it"


def real(make: Callable[[], T]) -> T:
    """Make a part, or skip (in CI: fail) the test that asked for it."""
    with _left_out_where_missing():
        return make()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the long variants be asked for."""
    parser.addoption("--long", action="store_true", help="run the variants that take long as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long variants where they were not asked for."""
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                # Skipped rather than deselected: so the last lines count them.
                item.add_marker(pytest.mark.skip(LONG))


def pytest_configure() -> None:
    """Let what tests start be interrupted, also where a shell has started this in the background.

    Such a shell lets its children ignore Ctrl+C, theirs as well.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Leave out a test that finds only while it runs that a part is missing."""
    with _left_out_where_missing():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say at the very end which tests were left out and why, and what installs the parts that are missing."""
    yield
    skipped = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    if skipped:
        terminalreporter.section("left out")
    for reason, count in Counter(skipped).most_common():
        terminalreporter.line(f"{count:5}  {reason.removeprefix('Skipped: ').removesuffix(MENDED)}")
    if any(reason.endswith(MENDED) for reason in skipped):
        terminalreporter.line(f"What is not installed comes with one command, on Debian 12: {INSTALL}")


@contextmanager
def _left_out_where_missing() -> Iterator[None]:
    try:
        yield
    except MissingPartError as error:
        if os.environ.get("CI"):
            pytest.fail(f"missing in CI: {error}", pytrace=False)
        pytest.skip(f"{error}{MENDED}")


@pytest.fixture(scope="session")
def _shared_parts() -> list[Part]:
    """The parts that tests share, in the order of their start."""
    return []


@pytest.fixture(autouse=True)
def _leave_shared_parts_working(_shared_parts: list[Part]) -> Iterator[None]:
    """Bring back, after each test, the shared parts that it has stopped, killed or paused."""
    yield
    for part in _shared_parts:
        part.heal()


def _share(part: P, shared: list[Part]) -> Iterator[P]:
    with part:
        shared.append(part)
        yield part
        shared.remove(part)


@pytest.fixture(scope="session")
def mosquitto(_shared_parts: list[Part]) -> Iterator[Mosquitto]:
    """The MQTT broker that tests share, with the project's own configuration."""
    yield from _share(real(Mosquitto), _shared_parts)


@pytest.fixture(scope="session")
def kafka(_shared_parts: list[Part]) -> Iterator[Kafka]:
    """The Kafka that tests share; it creates no topic by itself."""
    yield from _share(real(Kafka), _shared_parts)


@pytest.fixture(scope="session")
def redis_server(_shared_parts: list[Part]) -> Iterator[Redis]:
    """The Redis that tests share; what was written survives even a kill."""
    yield from _share(real(lambda: Redis(append_only=True)), _shared_parts)


@pytest.fixture(scope="session")
def postgres(_shared_parts: list[Part]) -> Iterator[Postgres]:
    """The PostgreSQL that tests share."""
    yield from _share(real(Postgres), _shared_parts)


@pytest.fixture(scope="session")
def mariadb(_shared_parts: list[Part]) -> Iterator[MariaDb]:
    """The MariaDB that tests share."""
    yield from _share(real(MariaDb), _shared_parts)


@pytest.fixture(scope="session")
def php() -> Php:
    """PHP with Laravel's components."""
    return real(Php)


@pytest.fixture
def unique() -> str:
    """A short name that no other test has, good for topics, keys, client ids and databases."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of an empty Redis database of this test's own (published channels are shared by all)."""
    return redis_server.new_database_url()


@pytest.fixture
def database_url(postgres: Postgres, unique: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test's own."""
    with postgres.new_database(unique) as url:
        yield url


@pytest.fixture
def own() -> Iterator[Callable[[Callable[[], P]], P]]:
    """Start a part for one test alone, as in ``own(lambda: Mosquitto({"allow_anonymous": "false"}))``."""
    with ExitStack() as stack:

        def start(make: Callable[[], P]) -> P:
            part: P = real(make)
            stack.enter_context(part)
            return part

        yield start


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser without a window."""
    program = real(chromium)
    async with browsing(program) as opened:
        yield opened
