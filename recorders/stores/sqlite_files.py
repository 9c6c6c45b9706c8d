"""The files of one SQLite database on the disk: made for their owner alone, and watched for losing their names.

Beside the database SQLite keeps its write-ahead log (`-wal`) and the index of it (`-shm`). POSIX locks on the database
and on the index tell the processes of each other, and the system drops all locks that a process has on a file as soon
as the process closes any descriptor of it. Whoever closes the database next then takes itself for the last, deletes
log and index, and who still has them open writes into files without a name. So nothing in this process may open and
close one of these files while SQLite has it open: here they are only asked for by name (`stat`).

A name can be lost all the same: `rm`, a backup moved into place, another library in the process. What SQLite has open
is remembered by device and inode, which nobody else gets as long as it is open; a name that leads elsewhere is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from recorders.stores.base import StoreError

_Identity: TypeAlias = tuple[int, int]

LOG: Final = "-wal"
INDEX: Final = "-shm"

_CREATING: Final = threading.Lock()
_DESCRIPTORS: Final = Path("/proc/self/fd")
_DELETED: Final = " (deleted)"
_RETRY_S: Final = 0.02

_FLOCK: Final = "hhqqi4x"
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""
_SHARED_BYTES: Final = (0x40000002, 510)
"""Where a connection holds its shared lock, and what it must have for itself to be the last: start and length in the
database file (SQLite's os_unix.c, "SHARED_FIRST" and "SHARED_SIZE")."""


class NameLost(StoreError):
    """Files that SQLite has open have lost their names. Nothing of what was asked has been done.

    `moved`: the database itself has, and not only its write-ahead log.
    """

    def __init__(self, path: Path, *, moved: bool) -> None:
        self.moved = moved
        super().__init__(
            f"{path}: the file was removed or replaced while it was open. Nothing is read or written until it is "
            "back; to go on with what is there now, restart the gateway"
            if moved
            else f"{path}: its write-ahead log was removed or replaced while it was open"
        )


class SQLiteFiles:
    """The database at `path` and what SQLite keeps beside it. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._real = ""
        self._held: dict[str, _Identity] = {}
        """By path: what SQLite has open. Replaced and never changed."""

    def prepare(self) -> None:
        """Before a connection: make the database, for its owner alone, where there is none, for it holds prompts.

        SQLite gives the files beside it the same mode. A database that was open is never made anew. Raises `OSError`,
        and `NameLost` when others in this process still have lost files open.
        """
        if not self._held:
            self._create()
        self._refuse_nameless()

    def _create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._real = os.path.realpath(self.path)
        with _CREATING, contextlib.suppress(FileExistsError):
            # No connection of this process can have a file open that is made here, nor get it before it is closed.
            os.close(os.open(self._real, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def hold(self, *, with_log: bool) -> None:
        """Remember what a connection has just opened. Raises `NameLost` when it is not what others here have open."""
        names = (self._real, self._real + LOG, self._real + INDEX) if with_log else (self._real,)
        found = {name: identity for name in names if (identity := _identity(name)) is not None}
        self.check()
        self._refuse_nameless()
        if self._real not in found:
            raise NameLost(self.path, moved=True)
        self._held = self._held | found

    def check(self) -> None:
        """Raises `NameLost` when what is held is not there any more under its name. Opens nothing."""
        held = self._held
        for name, identity in held.items():
            if _identity(name) != identity:
                raise NameLost(self.path, moved=_identity(self._real) != held[self._real])

    def forget(self, *, with_database: bool = True) -> None:
        """No connection is open any more. Without the database, it alone is still expected in its place."""
        self._held = {} if with_database else {n: i for n, i in self._held.items() if n == self._real}

    @contextlib.contextmanager
    def spared(self, patience_s: float) -> Iterator[None]:
        """Whatever closes in the block, also the last connection, leaves database and log as they are on the disk.

        The last connection would write a log without a name into the database, over what others have written since.
        It does so only when nobody else shares the database, so a lock of the kind that belongs to a descriptor and
        not to a process shares it meanwhile. All connections of this process must be closed in the block, for their
        locks go with its end. Raises `NameLost` when the database itself is lost, which SQLite spares by itself, and
        `StoreError` where there are no such locks.
        """
        self._check_place()
        if sys.platform != "linux":
            raise StoreError(f"{self.path}: it can't be opened again on this system: restart the gateway")
        descriptor = os.open(self._real, os.O_RDONLY | os.O_CLOEXEC)
        try:
            lock = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, *_SHARED_BYTES, 0)
            deadline = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
                    break
                except BlockingIOError:  # another process is just closing it
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(_RETRY_S)
            yield
        finally:
            os.close(descriptor)

    def _check_place(self) -> None:
        if _identity(self._real) != self._held.get(self._real):
            raise NameLost(self.path, moved=True)

    def _refuse_nameless(self) -> None:
        """SQLite shares one index among all connections of a process: a new one would get a lost one too."""
        lost = {self._real + suffix + _DELETED for suffix in (LOG, INDEX)}
        try:
            descriptors = os.listdir(_DESCRIPTORS)
        except OSError:  # not every system has this folder
            return
        if any(_link(_DESCRIPTORS / descriptor) in lost for descriptor in descriptors):
            raise NameLost(self.path, moved=False)


def _identity(name: str) -> _Identity | None:
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed by now
        return ""
