"""The files of one SQLite database on the disk: made for their owner alone, and watched for losing their names.

Beside the database SQLite keeps its write-ahead log (`-wal`) and the index of it (`-shm`). POSIX locks on the database
and on the index tell the processes of each other, and the system drops all locks that a process has on a file as soon
as the process closes any descriptor of it. Whoever closes the database next then takes itself for the last, deletes
log and index, and who still has them open writes into files without a name. So nothing in this process may open and
close one of these files while SQLite has it open: here they are only asked for by name (`stat`).

A name can be lost all the same: `rm`, a backup moved into place, another library in the process. What SQLite has open
is remembered by device and inode, which nobody else gets as long as it is open; a name that leads elsewhere is lost.
A lost log and a new one are two truths about one database, and whoever writes both into it destroys it. So:

- Who writes shares a lock (`writing`) that he who opens anew has alone (`replacing`): of all gateways and commands,
  none is in the middle of something when another one changes over.
- A lost log goes into the database as long as nobody can have begun a new one, and else never (`spared`).
- An index whose log is lost goes too, and a process that has either open gets no new one: SQLite would use the index
  of the one with the other.
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
from recorders.stores.file_lock import SharedFileLock

_Identity: TypeAlias = tuple[int, int]

LOG: Final = "-wal"
INDEX: Final = "-shm"
LOCK: Final = "-log.lock"

_CREATING: Final = threading.Lock()
_DESCRIPTORS: Final = "/proc/self/fd"
_LOCKS: Final = Path("/proc/locks")
_DELETED: Final = " (deleted)"
_RETRY_S: Final = 0.02

_FLOCK: Final = "hhqqi4x"
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""
_PENDING: Final = (0x40000000, 1)
"""Whoever opens the database needs it for a moment. Start and length in the database file, as in SQLite's os_unix.c."""
_SHARED: Final = (0x40000002, 510)
"""What each connection shares, and the last one must have for itself."""


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
    """The database at `path` and what SQLite keeps beside it.

    `check` may be called from any thread, the rest by one at a time. `patience_s` is how long to wait for others.
    """

    def __init__(self, path: Path, *, patience_s: float) -> None:
        self.path = path
        self._patience_s = patience_s
        self._real = ""
        self._held: dict[str, _Identity] = {}
        """By path: what SQLite has open. Replaced and never changed."""
        self._lost: set[_Identity] = set()
        """Log and index that were given up, and that others in this process may still have open."""
        self._turns = SharedFileLock(patience_s)
        self._descriptor: int | None = None
        """Of the database, while it is to be opened again."""

    @property
    def real(self) -> str:
        """The path without links and from the root, once `prepare` was called: what is watched is what is opened."""
        return self._real

    def prepare(self) -> None:
        """Before a connection: make the database, for its owner alone, where there is none, for it holds prompts.

        SQLite gives the files beside it the same mode. A database that was open is never made anew. Raises `OSError`,
        and `NameLost` when others in this process still have lost files open.
        """
        self._create()
        self._refuse_lost()

    @property
    def are_held(self) -> bool:
        """Whether a connection has opened them."""
        return bool(self._held)

    def hold(self, *, with_log: bool) -> None:
        """Remember what a connection has just opened. Raises `NameLost` when it is not what others here have open."""
        names = (self._real, self._real + LOG, self._real + INDEX) if with_log else (self._real,)
        found = {name: identity for name in names if (identity := _identity(name)) is not None}
        self.check()
        self._refuse_lost()
        if len(found) < len(names):
            raise NameLost(self.path, moved=self._real not in found)
        self._held = self._held | found
        self._lost.clear()

    def check(self) -> None:
        """Raises `NameLost` when what is held is not there any more under its name. Opens nothing."""
        held = self._held
        for name, identity in held.items():
            if _identity(name) != identity:
                raise NameLost(self.path, moved=_identity(self._real) != held[self._real])

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """A block in which nobody else opens the database anew. Raises `OSError`."""
        self._create()
        return self._turns.shared(Path(self._real + LOCK))

    def replacing(self) -> contextlib.AbstractContextManager[None]:
        """A block in which nobody else writes, or opens the database anew. Raises `OSError`."""
        return self._turns.alone(Path(self._real + LOCK))

    @contextlib.contextmanager
    def spared(self) -> Iterator[bool]:
        """A block in which all connections of this process must be closed, and nobody new gets one.

        It gives whether the lost log is the only one that there has been, so that what stands in it is to be moved
        into the database before. After that, what closes leaves the database as it is, also the last connection: it
        would write the log into the database, which it does only when nobody shares that. So a lock shares it that
        belongs to a descriptor and not to a process. Raises `NameLost` when the database itself is lost, which SQLite
        spares by itself, and `StoreError` where there are no such locks.
        """
        self._check_place()
        if sys.platform != "linux":
            raise StoreError(f"{self.path}: it can't be opened again on this system: restart the gateway")
        if self._descriptor is None:
            self._descriptor = os.open(self._real, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._lock(self._descriptor, fcntl.F_RDLCK, _SHARED)
            self._lock(self._descriptor, fcntl.F_WRLCK, _PENDING)
            yield _identity(self._real + LOG) is None and self._has_locks()
            if _identity(self._real + INDEX) == self._held.get(self._real + INDEX):
                os.unlink(self._real + INDEX)
        except BaseException:
            # Still open, for the next time: its end would drop the locks of connections that may still be open.
            for what in (_SHARED, _PENDING):
                self._lock(self._descriptor, fcntl.F_UNLCK, what)
            raise
        self._close_descriptor()

    def forget(self, *, with_database: bool = True) -> None:
        """No connection is open any more. Without the database, it alone is still expected in its place."""
        if with_database:
            self._held = {}
            self._lost.clear()
            self._turns.close()
            self._close_descriptor()
        else:
            self._lost |= {identity for name, identity in self._held.items() if name != self._real}
            self._held = {self._real: self._held[self._real]}

    def _create(self) -> None:
        if self._held:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._real = os.path.realpath(self.path)
        with _CREATING, contextlib.suppress(FileExistsError):
            # No connection of this process can have a file open that is made here, nor get it before it is closed.
            os.close(os.open(self._real, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def _close_descriptor(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _check_place(self) -> None:
        if _identity(self._real) != self._held.get(self._real):
            raise NameLost(self.path, moved=True)

    def _lock(self, descriptor: int, kind: int, what: tuple[int, int]) -> None:
        """For the descriptor, whose end lets go of it. Raises `TimeoutError`."""
        lock = struct.pack(_FLOCK, kind, os.SEEK_SET, *what, 0)
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
                return
            except BlockingIOError:  # another process is just opening or closing it
                if time.monotonic() >= deadline:
                    raise TimeoutError("another process keeps the database to itself") from None
                time.sleep(_RETRY_S)

    def _has_locks(self) -> bool:
        """Whether this process has kept its lock on the database since it was opened, as far as the system says.

        If it has, each program that has opened the database since is known by the log that it had to leave.
        """
        inode = self._held[self._real][1]
        try:
            lines = [line.split() for line in _LOCKS.read_text("ascii", "replace").splitlines()]
        except OSError:
            return False
        wanted = (str(os.getpid()), str(inode), str(_SHARED[0]))
        return any(
            (words[4], words[5].rpartition(":")[2], words[6]) == wanted and words[1] == "POSIX"
            for words in lines
            if len(words) == 8
        )

    def _refuse_lost(self) -> None:
        """SQLite shares one index among all connections of a process: a new one would get a lost one too."""
        try:
            descriptors = os.listdir(_DESCRIPTORS)
        except OSError:  # not every system has this folder
            return
        links = {_link(f"{_DESCRIPTORS}/{descriptor}") for descriptor in descriptors}
        # Of a database that has lost its own name log and index are another matter.
        nameless = self._real + _DELETED not in links and any(
            self._real + suffix + _DELETED in links for suffix in (LOG, INDEX)
        )
        # Once it is closed, the inode of a lost file may be a new one's.
        lost = self._lost - {_identity(self._real + suffix) for suffix in (LOG, INDEX)}
        if nameless or (lost and any(_is_open(int(number), lost) for number in descriptors)):
            raise NameLost(self.path, moved=False)


def _identity(name: str) -> _Identity | None:
    """None also where it can't be asked for: a folder that is gone, that is a file by now, or that has no rights."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_open(descriptor: int, identities: set[_Identity]) -> bool:
    try:
        found = os.fstat(descriptor)
    except OSError:  # closed by now
        return False
    return (found.st_dev, found.st_ino) in identities


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed by now
        return ""
