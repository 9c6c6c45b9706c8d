"""A small file system of its own, to be filled: a tmpfs, which root can mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILLER = "filler"


class CannotMountError(Exception):
    """Nobody but root can mount; the message is the system's."""


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """`path` as a file system of `size` (as mount writes it: 4m) while the block lasts."""
    path.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "ai-gateway-faults", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotMountError(done.stderr.strip() or f"mount ended with {done.returncode}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> None:
    """Take all the room that there is."""
    with (disk / FILLER).open("ab", buffering=0) as filler:
        for size in (1 << 16, 1 << 12):
            try:
                while os.write(filler.fileno(), bytes(size)) == size:
                    pass
            except OSError:
                continue


def make_room(disk: Path) -> None:
    (disk / FILLER).unlink()
