"""Locks that processes on one machine share, as locks on an empty file: the system lets go of them with the process.

The file stays, since whoever removed it could take it from under somebody who is just about to lock it. It must not
lie on a network file system.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

_RETRY_S: Final = 0.02
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


@contextmanager
def file_lock(path: Path) -> Iterator[bool]:
    """Held for a block; False when another holds it, also in this process. Waits for nobody. Raises `OSError`."""
    descriptor = _open(path)
    try:
        yield _is_ours(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


class SharedFileLock:
    """One that many may share, or one may have alone. The file is opened by the first who asks, until `close`.

    One block of an object at a time. Whoever waits longer than `patience_s` gets `TimeoutError`. A file system that has
    no such locks is taken for one that nobody shares.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def shared(self, path: Path, patience_s: float) -> AbstractContextManager[None]:
        """For a block, beside others who share it. Raises `OSError`."""
        return self._held(path, fcntl.LOCK_SH, patience_s)

    def alone(self, path: Path, patience_s: float) -> AbstractContextManager[None]:
        """For a block, beside nobody. Raises `OSError`."""
        return self._held(path, fcntl.LOCK_EX, patience_s)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def _held(self, path: Path, how: int, patience_s: float) -> Iterator[None]:
        deadline = time.monotonic() + patience_s
        descriptor = self._opened(path)
        while not _is_ours_or_nobodys(descriptor, how):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process holds {path}")
            time.sleep(_RETRY_S)
            descriptor = self._opened(path)
        try:
            yield
        finally:
            _is_ours_or_nobodys(descriptor, fcntl.LOCK_UN)

    def _opened(self, path: Path) -> int:
        """The file of that name: one that was removed is nobody's lock but ours."""
        if self._descriptor is not None and not leads_to(path, self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = _open(path)
        return self._descriptor


def _open(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def leads_to(path: Path, descriptor: int) -> bool:
    """Whether the name is still that of the open file."""
    try:
        named = path.stat()
    except OSError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def _is_ours_or_nobodys(descriptor: int, how: int) -> bool:
    try:
        return _is_ours(descriptor, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return True


def _is_ours(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
