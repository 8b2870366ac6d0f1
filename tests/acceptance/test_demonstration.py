"""``./dev run`` as a newcomer sees it, also where none of the servers is installed."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from streams.demo.demonstration import TENANTS
from streams.ingress.chunking import partition_of
from streams.settings import Settings
from tests.parts.eventually import eventually_sync

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "streams.demo", "run"]
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


def test_the_addresses_and_commands_work_and_an_interrupt_ends_it_with_the_ledger(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with demonstration(output) as process:
        eventually_sync(lambda: found(output, r"Ctrl\+C ends it"), 90)
        urls = re.findall(r"http\S+", output.read_text())
        assert [status(url) for url in urls] == [200] * len(urls)
        assert urls[0].endswith("/dashboard/")
        assert page(urls[1])["messages"] is not None
        assert page(urls[3])["lag_jobs"] is not None
        send = found(output, r"Send a metric.*\n((?: .*\n)+?)See its row")
        subprocess.run(str(send), shell=True, check=True, cwd=REPOSITORY)  # noqa: S602 - what a person would paste
        query = str(found(output, r"See its row\n +(.+)"))
        row = eventually_sync(lambda: pasted(query, "cpu.usage.percent"), 30)
        assert "42.17" in str(row)
        eventually_sync(lambda: found(output, r" s  sent [1-9]\d"), 30)
        process.send_signal(signal.SIGINT)
        eventually_sync(lambda: ended(process), 60)
    assert process.returncode == 0, output.read_text()
    entries = ledger(output.read_text())
    assert (entries["missing"], entries["doubled"], entries["others"]) == (0, 0, 1)


def status(url: str) -> int:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - an http address of our own
        return int(answer.status)


def page(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the same
        shown: dict[str, object] = json.load(answer)
    return shown


def pasted(command: str, wanted: str) -> str | None:
    """Run a command as a person would, from the checkout, and return what it prints if a text is in it."""
    done = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S602 - the same
    return done.stdout if wanted in done.stdout else None


@contextmanager
def on_a_terminal(*arguments: str, columns: int = 80) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run it on a terminal of its own, as its controlling one; yield the process and our end of it."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLING, *COMMAND[1:], *arguments],
        cwd=REPOSITORY, env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True,
    )  # fmt: skip
    os.close(its)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=90)


CONTROLLING = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def written_on(terminal: int) -> str:
    """Return all that is written on a terminal until nobody has it open any more."""
    text = b""
    with suppress(OSError):  # Linux says EIO at the end
        while part := os.read(terminal, 65_536):
            text += part
    return text.decode()


def lines_on(text: str) -> list[str]:
    """Return the lines of a terminal's text without their colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()


def test_on_a_terminal_a_table_lives_and_a_ledger_ends_it_all_within_80_columns() -> None:
    with on_a_terminal("--seconds", "8") as (process, terminal):
        text = written_on(terminal)
    assert process.returncode == 0, text
    lines = lines_on(text)
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.startswith("{")]
    assert len([line for line in lines if line.startswith("running 0:00:0")]) >= 5
    assert any(re.search(r" worker +ready +\d+", line) for line in lines)
    assert "Every message that was sent is accounted for:" in lines
    for count in ("sent", "accepted", "duplicates", "rejected", "rows"):
        shown = [int(each) for line in lines for each in re.findall(rf"^{count} +(\d+) ", line)]
        assert len(shown) >= 5
        assert shown == sorted(shown)


@pytest.mark.long
def test_json_is_the_last_line_on_a_terminal_that_asks_for_it() -> None:
    with on_a_terminal("--seconds", "2", "--json", columns=140) as (process, terminal):
        text = written_on(terminal)
    assert process.returncode == 0, text
    assert ledger("\n".join(lines_on(text)))["missing"] == 0


@pytest.mark.long
def test_a_terminal_that_is_closed_ends_all_of_it() -> None:
    with on_a_terminal() as (process, terminal):
        text = ""
        while "Ctrl+C ends it" not in text:
            text += os.read(terminal, 65_536).decode()
        directory, children = Path(str(re.search(r"(\S+)/\*\.log", text).group(1))), children_of(process.pid)  # type: ignore[union-attr]
        os.close(terminal)
        eventually_sync(lambda: ended(process), 60)
    assert len(children) >= 6
    assert eventually_sync(lambda: not any(map(is_running, children)))
    assert not directory.exists()


@pytest.mark.long
def test_a_reader_that_goes_away_ends_all_of_it() -> None:
    with subprocess.Popen(COMMAND, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        text = b""
        while b"Ctrl+C ends it" not in text:
            text += process.stdout.readline()  # type: ignore[union-attr]
        children = children_of(process.pid)
        process.stdout.close()  # type: ignore[union-attr]
        eventually_sync(lambda: ended(process), 60)
        said = process.stderr.read().decode()  # type: ignore[union-attr]
    assert "Traceback" not in said
    assert len(children) >= 6
    assert eventually_sync(lambda: not any(map(is_running, children)))


def test_a_part_that_dies_is_told_at_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with demonstration(output) as process:
        directory = eventually_sync(lambda: found(output, r"logs +(\S+)/\*\.log"), 90)
        os.kill(_worker_of(process.pid), signal.SIGKILL)
        eventually_sync(lambda: ended(process), 60)
    said = output.read_text()
    assert process.returncode == 1, said
    assert "worker was killed (SIGKILL)" in said
    assert f"The logs are kept in {directory}" in said
    shutil.rmtree(str(directory))


def _worker_of(parent: int) -> int:
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children_of(parent)}
    return next(child for child, command in commands.items() if command.endswith(b"\0worker\0"))


def children_of(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for children in tasks for child in children.read_text().split()]


def is_running(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


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
