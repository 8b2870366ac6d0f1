"""The disk of the fault harness: what was synced outlives a power cut, and nothing else does."""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.parts.disk import Disk
from tests.parts.postgres import Postgres
from tests.parts.process import MissingPartError, Part
from tests.parts.redis import Redis


class Nothing(Part):
    """A part that is never started: its directory alone matters."""

    name = "nothing"

    def _argv(self) -> Sequence[str]:
        return ["true"]

    def is_ready(self) -> bool:
        return True


@pytest.fixture
def exits() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def disk_of(part: Part, exits: ExitStack, size_mb: int = 16) -> Disk:
    exits.callback(part.remove)
    try:
        return exits.enter_context(Disk(part, size_mb))
    except MissingPartError as error:  # a container without the right to mount, which nothing can install
        pytest.skip(str(error))


def write(path: Path, content: bytes, *, sync: bool) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(content)
        if sync:
            os.fsync(file.fileno())


def test_a_power_cut_takes_what_was_not_synced(exits: ExitStack) -> None:
    part = Nothing()
    disk = disk_of(part, exits)
    synced, other = part.directory / "synced", part.directory / "other"
    write(synced, b"kept", sync=True)
    write(synced, b"lost", sync=False)
    write(other, b"lost", sync=False)
    disk.cut_power()
    assert synced.read_bytes() == b"kept"
    assert not other.exists() or other.read_bytes() == b""


def test_a_full_disk_takes_nothing_until_it_is_freed(exits: ExitStack) -> None:
    part = Nothing()
    disk = disk_of(part, exits)
    disk.fill()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write(part.directory / "more", b"x" * 10_000, sync=True)
    disk.free()
    write(part.directory / "more", b"x" * 10_000, sync=True)


def test_postgres_keeps_what_it_has_committed(exits: ExitStack) -> None:
    safe = Postgres({"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"})
    disk = disk_of(safe, exits, size_mb=256)
    safe.start()
    safe.execute("create table t (n int)")
    disk.sync()
    safe.execute("insert into t values (1)")
    disk.cut_power()
    safe.start()
    assert safe.execute("select count(*) from t") == "1"


@pytest.mark.parametrize(("fsync", "keys"), [("always", "2"), ("no", "1")])
def test_redis_keeps_what_it_has_synced(exits: ExitStack, fsync: str, keys: str) -> None:
    redis = Redis(append_only=True, options={"appendfsync": fsync})
    disk = disk_of(redis, exits, size_mb=64)
    redis.start()
    ask(redis, "SET a 1")
    disk.sync()
    ask(redis, "SET b 2")
    disk.cut_power()
    redis.start()
    assert ask(redis, "DBSIZE") == f":{keys}"


def ask(redis: Redis, command: str) -> str:
    """Send an inline command."""
    with socket.create_connection((redis.host, redis.port), timeout=5) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(64).decode().strip()
