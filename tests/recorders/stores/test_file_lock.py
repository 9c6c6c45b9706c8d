from __future__ import annotations

import errno
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recorders.stores.file_lock import SharedFileLock, file_lock


def test_one_holds_it_until_the_block_ends(tmp_path: Path) -> None:
    """Also among those in one process; nobody waits."""
    path = tmp_path / "a.lock"
    with file_lock(path) as first, file_lock(path) as second:
        assert (first, second) == (True, False)
    with file_lock(path) as third:
        assert third


def test_who_did_not_get_it_does_not_let_go_of_it(tmp_path: Path) -> None:
    """Leaving the block takes nothing from the holder."""
    path = tmp_path / "a.lock"
    with file_lock(path):
        for _ in range(2):
            with file_lock(path) as other:
                assert not other


def test_a_process_that_is_killed_lets_go_of_it(tmp_path: Path) -> None:
    """No lock outlives its holder, so nobody has to clean up."""
    path = tmp_path / "a.lock"
    program = (
        "import sys, pathlib\n"
        "from recorders.stores.file_lock import file_lock\n"
        "with file_lock(pathlib.Path(sys.argv[1])) as ours:\n"
        "    print(ours, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with file_lock(path) as ours:
            assert not ours
        process.kill()
        process.wait()
        with file_lock(path) as ours:
            assert ours


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Nobody else can hold up who needs the lock."""
    with file_lock(tmp_path / "a.lock"):
        assert stat.S_IMODE((tmp_path / "a.lock").stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """Not a lock that somebody else has."""
    with (
        pytest.raises(FileNotFoundError, match=r"nowhere/a\.lock"),
        file_lock(tmp_path / "nowhere" / "a.lock"),
    ):
        pass


# -- shared, or alone -----------------------------------------------------------------------------------------------


def shared_lock(path: Path) -> bool:
    """Whether somebody gets his share now."""
    lock = SharedFileLock()
    try:
        with lock.shared(path, 0.0):
            return True
    except TimeoutError:
        return False
    finally:
        lock.close()


def test_many_share_it_and_whoever_wants_it_alone_waits_for_them(tmp_path: Path) -> None:
    """And nobody has a share while one has it alone."""
    path = tmp_path / "lock"
    lock = SharedFileLock()
    other = SharedFileLock()
    with lock.shared(path, 0.0):
        assert shared_lock(path)
        with pytest.raises(TimeoutError, match=r"another process holds .*lock"), other.alone(path, 0.0):
            pass
    with other.alone(path, 0.0):
        assert not shared_lock(path)
    assert shared_lock(path)
    lock.close()
    other.close()
    other.close()


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path: Path) -> None:
    """Or who came before and who comes after would each have one alone."""
    path = tmp_path / "lock"
    lock, other = SharedFileLock(), SharedFileLock()
    for each in (lock, other):
        with each.shared(path, 0.0):
            pass
    path.unlink()
    with other.alone(path, 0.0), pytest.raises(TimeoutError), lock.shared(path, 0.0):
        pass
    with lock.shared(path, 0.0):
        assert path.exists()
    lock.close()
    other.close()


def test_what_goes_wrong_in_the_block_lets_go(tmp_path: Path) -> None:
    """The same object can be used again."""
    path = tmp_path / "lock"
    lock = SharedFileLock()
    with pytest.raises(LookupError), lock.alone(path, 0.0):
        raise LookupError
    assert shared_lock(path)
    with lock.alone(path, 0.0):
        pass
    lock.close()


def test_without_such_locks_nobody_is_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system is taken for one that nobody shares; another trouble is told."""

    def failing(number: int) -> Callable[..., None]:
        def flock(*arguments: object) -> None:
            raise OSError(number, "no")

        return flock

    lock = SharedFileLock()
    monkeypatch.setattr("fcntl.flock", failing(errno.EOPNOTSUPP))
    with lock.alone(tmp_path / "lock", 0.0):
        pass
    monkeypatch.setattr("fcntl.flock", failing(errno.EIO))
    with pytest.raises(OSError, match="no"), lock.shared(tmp_path / "lock", 0.0):
        pass
    lock.close()
