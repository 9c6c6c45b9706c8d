"""Whose folder is whose: each worker's journal has one of its own, and the dead's go to the living.

    <directory>/lock              held while a worker starts, so that those who start at once take turns
    <directory>/<uuid>/lock       held as long as that worker lives; the operating system lets go when it dies
    <directory>/<uuid>/*.journal  its segments, named by the time when they came into use; `.checkpointed` before the
                                  ending tells them from those of versions that kept no checkpoints in the database
    <directory>/<uuid>/*.spare    a segment made ahead, without an entry yet

The locks are `flock`'s: no process ID that another process may have by now, no age by which somebody is declared
dead. On a file system without them, making a folder fails. This module moves files and never looks into them.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uuid_utils

from recorders.stores.file_lock import leads_to

log = logging.getLogger("ai_gateway.recorders")

SUFFIX: Final = ".journal"
CHECKPOINTED: Final = ".checkpointed"
SPARE_SUFFIX: Final = ".spare"
LOCK: Final = "lock"


class WorkerFolder:
    """A folder below `directory` that is this worker's until `release`. `make` blocks while another one starts."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls, directory: Path) -> tuple[WorkerFolder, list[Path]]:
        """The folder, and in it the segments of all dead workers, the oldest first. Raises `OSError`."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(directory):
            path = directory / str(uuid_utils.uuid7())
            path.mkdir(mode=0o700)
            folder = cls(path, _lock(path / LOCK))
            try:
                adopted = sorted(folder._adopt_all(directory))
                sync_folder(path)
                sync_folder(directory)
            except BaseException:
                folder.release()
                raise
            return folder, adopted

    @property
    def is_removed(self) -> bool:
        """Somebody took it away, or the lock in it that says that it is ours."""
        return not leads_to(self.path / LOCK, self._lock)

    def make_again(self) -> None:
        """After somebody took it away. Raises `OSError`, also when a worker that is just starting came before us."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        lock = _lock(self.path / LOCK)
        os.close(self._lock)
        self._lock = lock

    def release(self) -> None:
        """Let go of it. What is still in it stays for another worker; without segments it goes away."""
        if not any(self.path.glob(f"*{SUFFIX}")):
            _remove(self.path)
        os.close(self._lock)

    def _adopt_all(self, directory: Path) -> Iterator[Path]:
        for other in sorted(directory.iterdir()):
            if other != self.path and other.is_dir():
                try:
                    yield from self._adopt(other)
                except BlockingIOError:
                    continue  # its worker lives
                except OSError as error:
                    log.warning(
                        "a journal can't be adopted", extra={"path": str(other), "reason": str(error)}
                    )

    def _adopt(self, other: Path) -> Iterator[Path]:
        """The lock is made where there is none: who would make it is dead, or waits for the lock that we hold."""
        try:
            lock = _lock(other / LOCK)
        except FileNotFoundError:
            return  # its worker has just ended in order
        try:
            for path in other.glob(f"*{SUFFIX}"):
                yield path.rename(self.path / path.name)
            _remove(other)
        finally:
            os.close(lock)


def sync_folder(folder: Path) -> None:
    """What was made in, or moved into `folder` is found there also after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    lock = _lock(directory / LOCK, wait=True)
    try:
        yield
    finally:
        os.close(lock)


def _lock(path: Path, *, wait: bool = False) -> int:
    """Raises `BlockingIOError` when somebody holds it and we don't wait, `OSError` with the path otherwise."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, error.strerror, str(path)) from error
    return descriptor


def _remove(folder: Path) -> None:
    """Remove a folder without segments. What else somebody put into it keeps it there."""
    with contextlib.suppress(OSError):
        for spare in folder.glob(f"*{SPARE_SUFFIX}"):
            spare.unlink()
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
