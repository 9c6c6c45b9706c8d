"""A connection to a SQLite file, and the one thread that works with it.

Its files are looked at before each work, and after each that may write: what went into a write-ahead log that nobody
can find any more was not done, whatever SQLite says.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, TypeVar

from recorders.stores.base import RecordsRefused, StoreError
from recorders.stores.sqlite_files import NameLost, SQLiteFiles

_T = TypeVar("_T")

_REFUSALS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
_WAL_RETRY_S: Final = 0.02


class SQLiteConnection:
    """A connection, and the one thread that works with it but for opening and closing."""

    def __init__(self, files: SQLiteFiles, *, busy_timeout_s: float, writes: bool) -> None:
        self._files = files
        self._busy_timeout_s = busy_timeout_s
        self._writes = writes
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._in_use = threading.Lock()
        self.open()

    def open(self) -> None:
        """Be ready, at first and after `retire`. Who writes opens the file with the first work."""
        if self._thread is None:
            name = "sqlite-writer" if self._writes else "sqlite-reader"
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        thread = self._thread
        if thread is None:
            raise StoreError(f"{self._files.path}: closed")
        try:
            running = asyncio.get_running_loop().run_in_executor(thread, self._work, work)
        except RuntimeError as error:  # it was retired just now
            raise StoreError(f"{self._files.path}: closed") from error
        return await running

    def retire(self) -> None:
        """Take no more work, and wait for what was taken. Blocks; retiring again does nothing."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.shutdown(wait=True)

    @contextlib.contextmanager
    def unused(self) -> Iterator[None]:
        """A block in which no work goes on: whoever calls may `connect` and `disconnect`."""
        with self._in_use:
            yield

    @property
    def is_retired(self) -> bool:
        """Whether it takes no more work."""
        return self._thread is None

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def connect(self) -> sqlite3.Connection:
        """Connect at first use, and again after a failure to do so. In a block of `SQLiteFiles` that allows it."""
        if self._connection is None:
            self._files.prepare()
            connection = sqlite3.connect(
                self._files.real,
                timeout=self._busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,  # `unused` sees to it that there is one at a time
            )
            try:
                connection.row_factory = sqlite3.Row
                has_log = _use_write_ahead_log(connection, self._busy_timeout_s)
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("PRAGMA foreign_keys=ON")
                connection.execute("SELECT 1 FROM sqlite_master")  # whoever reads first opens the log
                self._files.hold(with_log=has_log)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abandon(self) -> None:
        """Never close it, also not at the end: it would write its log over what others have written."""
        if self._connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
            self._connection = None

    def empty_log(self, how: Literal["FULL", "TRUNCATE"], *, patience_s: float) -> None:
        """Move all that is in the log into the database. Raises `StoreError` while others read what was before."""
        if self._connection is not None:
            self._connection.execute(f"PRAGMA busy_timeout = {patience_s * 1000:.0f}")
            busy, in_log, moved = self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
            if busy or in_log != moved:
                raise StoreError(f"{self._files.path}: others still use the log that was removed")

    def _work(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._in_use, border(self._files.path):
            if not self._writes:
                self._files.check()
                return work(self._connected())
            self._files.check_place()
            if self._connection is None:
                with self._files.opening():
                    self.connect()
            with self._files.writing():
                self._files.check()
                result = work(self._connected())
                self._check_written()
                return result

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise NameLost(self._files.path, moved=False)  # and could not be opened again
        return self._connection

    def _check_written(self) -> None:
        """What went into a log without a name may be in no database; whether to ask again, only the caller can know."""
        try:
            self._files.check_written()
        except NameLost as lost:
            raise StoreError(f"{lost} and written to") from lost


@contextlib.contextmanager
def border(path: Path) -> Iterator[None]:
    """What SQLite and the system raise becomes ours, with the path."""
    try:
        yield
    except _REFUSALS as error:
        raise RecordsRefused(f"{path}: {error}") from error
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: {error}") from error


def _use_write_ahead_log(connection: sqlite3.Connection, patience_s: float) -> bool:
    """Only one process can make the switch, and SQLite doesn't wait for it as it waits for other locks.

    False where the file system can't have one.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return bool(mode == "wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_WAL_RETRY_S)
