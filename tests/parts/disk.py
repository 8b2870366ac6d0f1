"""A disk of a server's own, which can lose its power and can be full: an ext4 file system in a file.

The power fails by ``EXT4_IOC_SHUTDOWN`` without a flush of the journal, as xfstests' ``godown`` does: the
kernel writes nothing more, and what was not synced is gone when the file system is mounted again. What that
does not model: a drive that acknowledges a flush and forgets it, a torn sector, rot. What the kernel has
written back by itself, after some 30 s, stays, as on any machine.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.parts.eventually import eventually_sync
from tests.parts.process import MissingPartError, Part, PartFailedError, find_program

_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), linux/fs/ext4/ext4.h
_WITHOUT_A_FLUSH = struct.pack("I", 2)  # EXT4_GOING_FLAGS_NOLOGFLUSH
_FILLER = "filler"
_SLACK_BYTES = 1 << 20
"""What a large reservation leaves: the file system needs blocks of its own to keep track of it."""
_WRITEBACK = "commit=300"
"""Seconds between the commits of the journal: the kernel is to save as little as it may."""


class Disk:
    """A file system of its own under a server's directory; a context manager that mounts and removes it.

    Args:
        part: a server that has not been started yet.
        size_mb: how large it is.
    """

    def __init__(self, part: Part, size_mb: int) -> None:
        self._part = part
        self._mkfs = find_program("mkfs.ext4", package="e2fsprogs")
        if os.geteuid() != 0:
            raise MissingPartError("a disk of a server's own is mounted, which needs root")
        self._home = Path(tempfile.mkdtemp(prefix="metric-streams-disk-"))
        self._image = self._home / "image"
        with self._image.open("wb") as image:
            image.truncate(size_mb * 1024 * 1024)
        _run([str(self._mkfs), "-q", "-F", "-m", "0", str(self._image)])
        self._mount()

    def cut_power(self) -> None:
        """Let nothing more reach the disk, kill the server, and come back with what was synced."""
        root = os.open(self._part.directory, os.O_RDONLY)
        try:
            fcntl.ioctl(root, _EXT4_IOC_SHUTDOWN, _WITHOUT_A_FLUSH)
        finally:
            os.close(root)
        self._part.kill()
        self._unmount()
        self._mount()

    def sync(self) -> None:
        """Let everything that was written so far be safe, as an installation from long ago is."""
        _run(["sync", "-f", str(self._part.directory)])

    def fill(self) -> None:
        """Leave no room."""
        room = os.statvfs(self._part.directory)
        with (self._part.directory / _FILLER).open("ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - _SLACK_BYTES))
            with contextlib.suppress(OSError):
                while file.write(b"\0" * 4096):  # what is left, by the block
                    pass

    def free(self) -> None:
        """Give the room back."""
        (self._part.directory / _FILLER).unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount it and forget what it held; the server must have been killed."""
        self._unmount()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._part.kill()
        self.remove()

    def _mount(self) -> None:
        where = [str(self._image), str(self._part.directory)]
        try:
            _run(["mount", "-t", "ext4", "-o", f"loop,{_WRITEBACK}", *where])
        except PartFailedError as error:
            raise MissingPartError(f"this machine lets nobody mount a file system: {error}") from error
        self._part.directory.chmod(0o755)  # PostgreSQL is another user than root

    def _unmount(self) -> None:
        """The processes that a server has left behind may take a moment to go."""
        unmount = ["umount", str(self._part.directory)]
        eventually_sync(lambda: subprocess.run(unmount, capture_output=True, check=False).returncode == 0)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PartFailedError(f"{' '.join(command)}: {done.stderr.strip()}")
