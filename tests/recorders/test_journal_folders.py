"""Whose journal is whose: several workers, dead ones, and those who start at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorders.journal_folders import LOCK, WorkerFolder

CHECKOUT = Path(__file__).parents[2]
WORKER = """
import sys
from pathlib import Path
from recorders.journal_folders import WorkerFolder
folder, adopted = WorkerFolder.make(Path(sys.argv[1]))
print(folder.path.name, *(path.name for path in adopted), flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Another process with a folder; its name, and what it adopted."""
    process = start(directory)
    try:
        yield process, told(process)
    finally:
        process.kill()
        process.communicate()


def start(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(directory)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def leave(directory: Path, worker: str, *names: str, lock: bool = True) -> None:
    """What a dead worker left."""
    folder = directory / worker
    folder.mkdir(parents=True)
    if lock:
        (folder / LOCK).touch()
    for name in names:
        (folder / name).write_bytes(b"left")


def folders(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.is_dir()]


def test_segments_of_dead_workers_are_adopted_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Names begin with the time; whose they were doesn't matter. Emptied folders go away."""
    leave(tmp_path, "w1", "a.journal", "c.journal")
    leave(tmp_path, "w2", "b.journal", "0.spare")
    folder, adopted = WorkerFolder.make(tmp_path)
    assert [path.name for path in adopted] == ["a.journal", "b.journal", "c.journal"]
    assert all(path.parent == folder.path and path.read_bytes() == b"left" for path in adopted)
    assert folders(tmp_path) == [folder.path.name]
    folder.release()


def test_a_living_worker_keeps_what_is_its_own(tmp_path: Path) -> None:
    """Only its death opens the lock, and `kill -9` is one."""
    with worker(tmp_path) as (process, (name,)):
        (tmp_path / name / "x.journal").touch()
        folder, adopted = WorkerFolder.make(tmp_path)
        assert adopted == []
        folder.release()
        process.kill()
        process.wait()
        folder, adopted = WorkerFolder.make(tmp_path)
        assert [path.name for path in adopted] == ["x.journal"]
        folder.release()


def test_of_workers_that_start_at_once_each_segment_has_one(tmp_path: Path) -> None:
    """Adoption takes turns; nobody adopts a worker that is just starting."""
    names = {f"{index:02}.journal" for index in range(20)}
    for name in names:
        leave(tmp_path, f"w{name}", name)
    processes = [start(tmp_path) for _ in range(4)]
    try:
        lines = [told(process) for process in processes]
        assert sorted(name for _, *adopted in lines for name in adopted) == sorted(names)
        assert sorted(folders(tmp_path)) == sorted(own for own, *_ in lines)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_folder_whose_lock_is_gone_is_adopted_as_well(tmp_path: Path) -> None:
    """Its worker died while it was made or given up, or somebody tidied up."""
    leave(tmp_path, "w1", "a.journal", lock=False)
    leave(tmp_path, "w2", lock=False)
    folder, adopted = WorkerFolder.make(tmp_path)
    assert [path.name for path in adopted] == ["a.journal"]
    assert folders(tmp_path) == [folder.path.name]
    folder.release()


def test_what_else_lies_there_is_left_alone(tmp_path: Path) -> None:
    """Files of other names stay, and so do the folders that hold them."""
    leave(tmp_path, "w1", "a.journal", "notes.txt")
    (tmp_path / "README").touch()
    folder, adopted = WorkerFolder.make(tmp_path)
    assert [path.name for path in adopted] == ["a.journal"]
    assert (tmp_path / "w1" / "notes.txt").exists()
    assert (tmp_path / "README").exists()
    folder.release()


def test_a_released_folder_goes_away_unless_segments_are_in_it(tmp_path: Path) -> None:
    """What is left is the next worker's."""
    empty, _ = WorkerFolder.make(tmp_path)
    empty.release()
    assert folders(tmp_path) == []
    full, _ = WorkerFolder.make(tmp_path)
    (full.path / "a.journal").touch()
    full.release()
    assert folders(tmp_path) == [full.path.name]
    folder, adopted = WorkerFolder.make(tmp_path)
    assert [path.name for path in adopted] == ["a.journal"]
    folder.release()


def test_nobody_else_can_look_into_it(tmp_path: Path) -> None:
    """Records hold prompts."""
    folder, _ = WorkerFolder.make(tmp_path / "new" / "journal")
    assert (tmp_path / "new" / "journal").stat().st_mode & 0o777 == 0o700
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.release()


def test_a_place_where_no_folder_can_be_is_an_error_with_its_path(tmp_path: Path) -> None:
    """Somebody has to correct it."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        WorkerFolder.make(tmp_path / "file" / "journal")
