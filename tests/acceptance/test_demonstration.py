"""``./dev run`` as a newcomer sees it, also where none of the servers is installed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from streams.chunks import partition_of
from streams.embedded.demonstration import TENANTS
from streams.settings import Settings
from tests.parts.eventually import eventually_sync

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "streams.embedded", "run"]
TENANT = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH on which none of the servers is."""
    basics = tmp_path / "bin"
    basics.mkdir()
    for name in ("sh", "env"):
        (basics / name).symlink_to(str(shutil.which(name)))
    return f"{Path(sys.executable).parent}:{basics}"


@contextmanager
def demonstration(output: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run it until the test's end, and stop it if the test has not."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            COMMAND, cwd=REPOSITORY, env=os.environ | environment, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=90)


def found(output: Path, pattern: str) -> str | None:
    match = re.search(pattern, output.read_text())
    return match.group(match.lastindex or 0) if match else None


def ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def ledger(text: str) -> dict[str, int]:
    entries: dict[str, int] = json.loads(text.splitlines()[-1])
    return entries


def test_with_nothing_but_python_everything_that_was_sent_is_accounted_for(bare_path: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "15"],
        cwd=REPOSITORY,
        env=os.environ | {"PATH": bare_path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    entries = ledger(done.stdout)
    assert entries["sent"] == pytest.approx(300, abs=20)
    assert entries["sent"] == entries["landed"] + entries["rejected"] + entries["duplicates"]
    assert (entries["missing"], entries["doubled"], entries["misjudged"]) == (0, 0, 0)
    assert min(entries["landed"], entries["rejected"], entries["duplicates"]) > 0
    assert entries["rows"] == entries["landed"] - entries["superseded"]
    assert {origin.split()[0] for origin in re.findall(r" s   (wheel \w+)", done.stdout)} == {"wheel"}


def test_the_addresses_work_and_an_interrupt_ends_it_with_the_ledger(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with demonstration(output) as process:
        address = eventually_sync(lambda: found(output, r"statistics +(\S+)"), 90)
        with urllib.request.urlopen(str(address)) as page:  # noqa: S310 - an http address of our own
            assert json.load(page)["messages"] is not None
        ingest = str(eventually_sync(lambda: found(output, r"ingest +(http\S+)")))
        with urllib.request.urlopen(ingest) as page:  # noqa: S310 - the same
            assert json.load(page)["lag_jobs"] is not None
        example = eventually_sync(lambda: found(output, r"Send a metric\n +(.+)"))
        subprocess.run(str(example), shell=True, check=True)  # noqa: S602 - what a person would paste
        eventually_sync(lambda: found(output, r"5 s   sent"), 30)
        process.send_signal(signal.SIGINT)
        eventually_sync(lambda: ended(process), 60)
    assert process.returncode == 0, output.read_text()
    entries = ledger(output.read_text())
    assert (entries["missing"], entries["doubled"], entries["others"]) == (0, 0, 1)


def test_a_part_that_dies_is_told_at_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with demonstration(output) as process:
        directory = eventually_sync(lambda: found(output, r"logs +(\S+)/worker\.log"), 90)
        os.kill(_worker_of(process.pid), signal.SIGKILL)
        eventually_sync(lambda: ended(process), 60)
    said = output.read_text()
    assert process.returncode == 1, said
    assert "worker ended by itself with code -9. The end of" in said
    assert f"The logs are kept in {directory}" in said
    shutil.rmtree(str(directory))


def _worker_of(parent: int) -> int:
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in children.read_text().split():
            if Path(f"/proc/{child}/cmdline").read_bytes().endswith(b"\0worker\0"):
                return int(child)
    raise AssertionError("there is no worker")


def test_an_end_while_starting_leaves_nothing(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with TemporaryDirectory() as passable:
        Path(passable).chmod(0o711)  # else root's servers, which run as another user, would be elsewhere
        with demonstration(output, TMPDIR=passable) as process:
            eventually_sync(lambda: found(output, r"redis +\d"), 60)
            assert list(Path(passable).glob("metric-streams-*"))
            process.send_signal(signal.SIGTERM)
            eventually_sync(lambda: ended(process), 60)
        assert process.returncode == 130, output.read_text()
        assert not list(Path(passable).iterdir())


@pytest.mark.parametrize("seconds", ["0", "-1", "-0.0", "nan", "inf", "-inf", "1e999", "soon", ""])
def test_seconds_that_are_none_are_refused_in_one_line(seconds: str) -> None:
    done = subprocess.run(
        [*COMMAND, f"--seconds={seconds}"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"must be a number of seconds above 0, such as 60, not {seconds!r}" in line
    assert done.stdout == ""


def test_a_tenants_messages_and_anothers_go_to_different_partitions() -> None:
    partitions = {partition_of(str(tenant), Settings().topic_partitions) for tenant in TENANTS}
    assert len(partitions) == len(TENANTS) > 1
