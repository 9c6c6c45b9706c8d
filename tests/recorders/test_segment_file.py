"""One file of the journal, on a real disk: what is found in it again, and what a failing disk makes of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from recorders import segment
from recorders.segment_file import NotAJournal, SegmentFile

PAYLOADS = [b"one", b"two" * 10, b"three" * 100]


def write(path: Path, payloads: list[bytes] = PAYLOADS, *, allocated_bytes: int = 4096) -> bytes:
    """A file with these entries; its bytes."""
    file = SegmentFile.create(path, allocated_bytes=allocated_bytes)
    for payload in payloads:
        file.append(segment.entry(payload))
    file.close()
    return path.read_bytes()


def read(file: SegmentFile, **options: int) -> list[bytes]:
    return [payload for piece in file.walk(file.committed, file.end, **options) for payload in piece]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.journal"


def adopted(path: Path) -> SegmentFile:
    """The file as the next worker finds it, closed again by the end of the process."""
    return SegmentFile.adopt(path)


def test_a_file_is_allocated_whole_and_private(path: Path) -> None:
    """Its room is there before a record needs it."""
    file = SegmentFile.create(path, allocated_bytes=10_000)
    assert (path.stat().st_size, path.stat().st_mode & 0o777) == (10_000, 0o600)
    assert path.stat().st_blocks * 512 >= 10_000
    file.delete()
    assert not path.exists()


@pytest.mark.parametrize("allocated_bytes", [0, 4096])
def test_an_adopted_file_gives_what_was_written(path: Path, allocated_bytes: int) -> None:
    """Its end is that of the last entry and not of the file."""
    write(path, allocated_bytes=allocated_bytes)
    file = adopted(path)
    assert (read(file), file.entries, file.torn) == (PAYLOADS, 3, False)
    assert file.end == segment.HEADER_BYTES + sum(len(segment.entry(p)) for p in PAYLOADS)
    file.trim()
    assert path.stat().st_size == file.end
    file.close()


@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 1 << 20])
def test_entries_are_read_whole_whatever_the_size_of_a_piece(path: Path, piece_bytes: int) -> None:
    """Also one that is longer than a piece."""
    write(path)
    file = adopted(path)
    assert read(file, piece_bytes=piece_bytes) == PAYLOADS
    assert read(file, piece_bytes=piece_bytes, max_entries=2) == PAYLOADS[:2]
    file.close()


def test_cut_anywhere_the_entries_before_are_kept_and_the_cut_is_told(path: Path) -> None:
    """Every length that a power cut could leave, without and with zeros behind."""
    data = write(path, [b"one", b"two"], allocated_bytes=0)
    ends = [16, 16 + 8 + 3, len(data)]
    for length in range(16, len(data) + 1):
        for rest in (b"", bytes(100), bytes(3)):
            path.write_bytes(data[:length] + rest)
            file = adopted(path)
            cut = data[:length].rstrip(b"\0")
            assert file.end == max(end for end in ends if end <= length)
            assert file.entries == ends.index(file.end)
            assert file.torn == (len(cut) > file.end)
            file.close()


def test_any_turned_byte_keeps_the_entries_before_it(path: Path) -> None:
    """And is told, wherever it stands in the entries."""
    data = write(path, [b"one", b"two"], allocated_bytes=0)
    for place in range(16, len(data)):
        turned = bytearray(data)
        turned[place] ^= 0xFF
        path.write_bytes(turned)
        file = adopted(path)
        assert (file.entries, file.torn) == (0 if place < 27 else 1, True)
        file.close()


def test_something_behind_a_hole_is_told(path: Path) -> None:
    """A later page reached the disk and an earlier one did not: the power went."""
    data = write(path, [b"one"])
    path.write_bytes(data + segment.entry(b"two"))
    file = adopted(path)
    assert (file.entries, file.torn) == (1, True)
    file.close()


def test_reading_begins_at_the_checkpoint(path: Path) -> None:
    """What is stored doesn't come again."""
    write(path)
    file = adopted(path)
    file.move_checkpoint(16 + 8 + 3)
    file.close()
    again = adopted(path)
    assert (read(again), again.entries) == (PAYLOADS[1:], 2)
    again.move_checkpoint(again.end)
    again.close()
    done = adopted(path)
    assert (done.waiting_bytes, done.entries, done.torn) == (0, 0, False)
    done.close()


def test_a_torn_tail_behind_what_is_stored_brings_nothing_back(path: Path) -> None:
    """The checkpoint is believed because an entry ends there."""
    write(path)
    file = adopted(path)
    file.move_checkpoint(file.end)
    os.pwrite(file.descriptor, b"half an entry", file.end)
    file.close()
    again = adopted(path)
    assert (again.waiting_bytes, again.torn) == (0, True)
    again.close()


@pytest.mark.parametrize("checkpoint", [17, 50, 10**9])
def test_a_checkpoint_at_which_no_entry_begins_is_not_believed(path: Path, checkpoint: int) -> None:
    """Everything comes again, which a store doesn't mind; nothing is skipped."""
    write(path)
    file = adopted(path)
    file.move_checkpoint(checkpoint)
    file.close()
    again = adopted(path)
    assert (read(again), again.torn) == (PAYLOADS, False)
    again.close()


@pytest.mark.parametrize("data", [b"", b"short", b"something else entirely"])
def test_another_kind_of_file_is_refused(path: Path, data: bytes) -> None:
    """It is not changed either."""
    path.write_bytes(data)
    with pytest.raises(NotAJournal, match="is not a journal"):
        SegmentFile.adopt(path)
    assert path.read_bytes() == data


def test_a_file_that_shrinks_while_it_is_read_is_an_error_with_its_path(path: Path) -> None:
    """And not an endless loop."""
    write(path)
    file = adopted(path)
    os.truncate(path, 20)
    with pytest.raises(OSError, match=r"shorter.*a\.journal"):
        read(file)
    file.close()


def test_a_full_disk_is_noticed_when_the_file_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the path, and no file is left."""

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device.*a\.journal"):
        SegmentFile.create(path, allocated_bytes=4096)
    assert not path.exists()


def test_a_file_system_that_cannot_allocate_ahead_does_without(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal works there too; it only notices a full disk later."""

    def unknown(*arguments: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    assert len(write(path)) == segment.HEADER_BYTES + sum(len(segment.entry(p)) for p in PAYLOADS)


def test_an_entry_of_which_a_part_was_taken_is_an_error_and_spoils_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was whole before stays, and can still be synced."""
    file = SegmentFile.create(path)
    file.append(segment.entry(b"one"))
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:5], offset))
    with pytest.raises(OSError, match=r"only a part.*a\.journal"):
        file.append(segment.entry(b"two"))
    assert (file.spoilt, file.unreliable) == (True, False)
    file.sync()
    file.close()
    again = adopted(path)
    assert (read(again), again.torn) == ([b"one"], True)
    again.close()


def test_a_failed_sync_is_never_followed_by_one_that_succeeds(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operating system would call lost pages clean."""
    file = SegmentFile.create(path)

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", failing)
        with pytest.raises(OSError, match=r"Input/output error.*a\.journal"):
            file.sync()
    with pytest.raises(OSError, match="an earlier sync failed"):
        file.sync()
    assert file.spoilt
    file.delete()
