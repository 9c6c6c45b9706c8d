"""The files of one SQLite database on the disk: made for their owner alone, and watched for losing their names.

Beside the database SQLite keeps its write-ahead log (`-wal`) and the index of it (`-shm`). POSIX locks on the database
and on the index tell the processes of each other, and the system drops all locks that a process has on a file as soon
as the process closes any descriptor of it. Whoever closes the database next then takes itself for the last, deletes
log and index, and who still has them open writes into files without a name. So nothing in this process may open and
close one of these files while SQLite has it open: here they are only asked for by name (`stat`).

A name can be lost all the same: `rm`, a backup moved into place, another library in the process. What SQLite has open
is remembered by device and inode, which nobody else gets as long as it is open; a name that leads elsewhere is lost.
A lost log and a new one are two truths about one database, and whoever writes both into it destroys it. So:

- Who writes shares a lock (`writing`) that he who begins a log has alone (`opening`, `replacing`): of all gateways and
  commands, none is in the middle of something when another one changes over. Where others have the database open and
  there is no log, it was lost, and who opens it first waits until they have begun another.
- A lost log goes into the database as long as nobody can have begun a new one, and else never (`spared`).
- An index whose log is lost goes too, and a process that has either open gets no new one: SQLite would use the index
  of the one with the other.

Programs that aren't ours keep none of this: one that begins a new log, in the moment after the old one was removed and
while a gateway writes, may cost the database.
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
        self.patience_s = patience_s
        self._real = ""
        self._held: dict[str, _Identity] = {}
        """By path: what SQLite has open. Replaced and never changed."""
        self._lost: set[tuple[int, _Identity]] = set()
        """Descriptors of others in this process that had log and index open when they were given up."""
        self._written_ns = 0
        """When the database was last written to, as it was seen after something of ours."""
        self._log_before: _Identity | None = None
        self._may_begin = False
        """Whether a connection may begin a new log."""
        self._turns = SharedFileLock()
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
        self._log_before = _identity(self._real + LOG)

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
        is_begun = with_log and found.get(self._real + LOG) != self._log_before
        if len(found) < len(names) or (is_begun and not self._may_begin):
            raise NameLost(self.path, moved=self._real not in found)
        self._held = self._held | found
        self._lost.clear()

    def check(self) -> None:
        """Raises `NameLost` when what is held is not there any more under its name. Opens nothing."""
        held = self._held
        for name, identity in held.items():
            if _identity(name) != identity:
                raise NameLost(self.path, moved=_identity(self._real) != held[self._real])

    def check_written(self) -> None:
        """`check` after something was written, while nobody of ours begins another log."""
        with contextlib.suppress(OSError):
            self._written_ns = os.stat(self._real).st_mtime_ns
        self.check()

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """A block in which nobody else opens the database anew. Raises `OSError`."""
        self._create()
        return self._turns.shared(Path(self._real + LOCK), self.patience_s)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """A block to connect in for the first time. Raises `OSError`, and `StoreError` after a log that is lost."""
        self._create()
        deadline = time.monotonic() + self.patience_s
        while _identity(self._real + LOG) is None:
            with self.replacing():
                if not (others := self._sharers()):
                    yield
                    return
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"{self.path}: its write-ahead log was removed while others had it open: end them, or wait until "
                    f"they have begun another (process {', '.join(map(str, sorted(others)))})"
                )
            time.sleep(_RETRY_S)
        with self.writing():
            yield

    @contextlib.contextmanager
    def replacing(self) -> Iterator[None]:
        """A block in which nobody else writes, and a connection may begin a log. Raises `OSError`."""
        with self._turns.alone(Path(self._real + LOCK), self.patience_s):
            self._may_begin = True
            try:
                yield
            finally:
                self._may_begin = False

    @contextlib.contextmanager
    def spared(self) -> Iterator[bool]:
        """A block in which all connections of this process must be closed, and nobody new gets one.

        It gives whether the lost log is the only one that there has been, so that what stands in it is to be moved
        into the database before. After that, what closes leaves the database as it is, also the last connection: it
        would write the log into the database, which it does only when nobody shares that. So a lock shares it that
        belongs to a descriptor and not to a process. Raises `NameLost` when the database itself is lost, which SQLite
        spares by itself, and `StoreError` where there are no such locks.
        """
        self.check_place()
        if sys.platform != "linux":
            raise StoreError(f"{self.path}: it can't be opened again on this system: restart the gateway")
        if self._descriptor is None:
            self._descriptor = os.open(self._real, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._lock(self._descriptor, fcntl.F_RDLCK, _SHARED)
            self._lock(self._descriptor, fcntl.F_WRLCK, _PENDING)
            yield _identity(self._real + LOG) is None and self._is_only_log()
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
            given_up = {identity for name, identity in self._held.items() if name != self._real}
            self._lost = {(number, found) for number, found in _open_files() if found in given_up}
            self._held = {self._real: self._held[self._real]}

    def _create(self) -> None:
        if self._held:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._real = os.path.realpath(self.path)
        if _identity(self._real) is None and _identity(self._real + LOG) is not None:
            raise StoreError(
                f"{self.path}: the file isn't there, but its write-ahead log is: put the file back, or remove "
                f"{self.path.name}{LOG} and {self.path.name}{INDEX} to begin a new one"
            )
        with _CREATING, contextlib.suppress(FileExistsError):
            # No connection of this process can have a file open that is made here, nor get it before it is closed.
            os.close(os.open(self._real, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def _close_descriptor(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def check_place(self) -> None:
        """Raises `NameLost` when the database itself, which is held, has lost its name."""
        held = self._held.get(self._real)
        if held is not None and _identity(self._real) != held:
            raise NameLost(self.path, moved=True)

    def _lock(self, descriptor: int, kind: int, what: tuple[int, int]) -> None:
        """For the descriptor, whose end lets go of it. Raises `TimeoutError`."""
        lock = struct.pack(_FLOCK, kind, os.SEEK_SET, *what, 0)
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
                return
            except BlockingIOError:  # another process is just opening or closing it
                if time.monotonic() >= deadline:
                    raise TimeoutError("another process keeps the database to itself") from None
                time.sleep(_RETRY_S)

    def _is_only_log(self) -> bool:
        """Whether nobody can have begun a log since ours was lost, as far as the system tells.

        Whoever has the database open keeps others from deleting their logs, so a log that isn't there was never begun,
        or was removed as ours was: then the database has been written to since the loss, and not by us.
        """
        lost = self._held.get(self._real + LOG)
        changed_ns = [os.fstat(number).st_ctime_ns for number, found in _open_files() if found == lost]
        if not changed_ns or os.getpid() not in self._sharers():
            return False
        written_ns = os.stat(self._real).st_mtime_ns
        return written_ns < max(changed_ns) or written_ns == self._written_ns

    def _sharers(self) -> set[int]:
        """The processes that have the database open and have read it, as far as the system tells."""
        identity = _identity(self._real)
        try:
            lines = [line.split() for line in _LOCKS.read_text("ascii", "replace").splitlines()]
        except OSError:  # not every system has this file
            return set()
        wanted = ["POSIX", str(identity[1] if identity else None), str(_SHARED[0])]
        return {
            int(words[4])
            for words in lines
            if len(words) == 8 and [words[1], words[5].rpartition(":")[2], words[6]] == wanted
        }

    def _refuse_lost(self) -> None:
        """SQLite shares one index among all connections of a process: a new one would get a lost one too."""
        links = {_link(f"{_DESCRIPTORS}/{number}") for number in _descriptors()}
        # Of a database that has lost its own name log and index are another matter.
        nameless = self._real + _DELETED not in links and any(
            self._real + suffix + _DELETED in links for suffix in (LOG, INDEX)
        )
        # Once it is closed, descriptor and inode of a lost file may be a new one's.
        named = {_identity(self._real + suffix) for suffix in (LOG, INDEX)}
        lost = {(number, identity) for number, identity in self._lost if identity not in named}
        if nameless or (lost and not lost.isdisjoint(_open_files())):
            raise NameLost(self.path, moved=False)


def _identity(name: str) -> _Identity | None:
    """None also where it can't be asked for: a folder that is gone, that is a file by now, or that has no rights."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _descriptors() -> list[int]:
    try:
        return [int(number) for number in os.listdir(_DESCRIPTORS)]
    except OSError:  # not every system has this folder
        return []


def _open_files() -> Iterator[tuple[int, _Identity]]:
    """Of this process: each descriptor, and what it is open on."""
    for number in _descriptors():
        with contextlib.suppress(OSError):  # closed by now
            found = os.fstat(number)
            yield number, (found.st_dev, found.st_ino)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed by now
        return ""
