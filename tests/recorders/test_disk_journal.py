"""The journal on disk: order, checkpoint, bounds, and what a death leaves and the next worker finds."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from recorders import codec, segment
from recorders.disk_journal import MAX_KEPT, REJECTED, DiskJournal
from recorders.journal import Backlog, Batch, JournalFull, JournalUnusable
from recorders.records import Record
from tests.recorders import samples

CHECKOUT = Path(__file__).parents[2]
MANY = 100_000
LARGE = 1 << 30
SMALL_FILES = {"segment_bytes": 4096}


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[DiskJournal]:
    journal = DiskJournal(path, **({"fsync": "never"} | options))
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def read_all(journal: DiskJournal, *, commit: bool = False, max_records: int = MANY) -> list[Record]:
    """All that waits; read again when it was not committed."""
    records: list[Record] = []
    while batch := await journal.read(max_records, LARGE):
        records += batch.records
        if not commit:
            return records
        journal.commit(batch.position)
    return records


async def left(path: Path, **options: Any) -> list[Record]:
    """What the next worker finds."""
    async with opened(path, **options) as journal:
        return await read_all(journal, commit=True)


def files(path: Path) -> list[Path]:
    return sorted(path.glob("*/*.journal"))


def many(count: int) -> list[Record]:
    return [samples.prompt(f"i{index}", prompt=f"question {index}" * 10) for index in range(count)]


# -- a queue --------------------------------------------------------------------------------------------------------


async def test_records_come_out_in_the_order_of_their_coming_over_many_files(tmp_path: Path) -> None:
    """A file is no border, neither for order nor for a batch."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for record in many(300):
            journal.append(record)
        assert len(files(tmp_path)) > 10
        assert await read_all(journal) == many(300)
        assert await read_all(journal, commit=True, max_records=7) == many(300)


async def test_what_was_read_and_not_committed_is_read_again(tmp_path: Path) -> None:
    """A drain that failed half-way loses nothing."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start())
        assert await read_all(journal) == await read_all(journal) == [samples.start()]
        journal.append(samples.end())
        assert await read_all(journal) == [samples.start(), samples.end()]


async def test_commit_forgets_just_what_was_read(tmp_path: Path) -> None:
    """Records that came after the batch stay, and a late second commit takes nothing more."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start())
        batch = await journal.read(MANY, MANY)
        journal.append(samples.end())
        assert batch is not None
        journal.commit(batch.position)
        journal.commit(batch.position)
        assert await read_all(journal) == [samples.end()]


async def test_an_empty_journal_gives_no_batch(tmp_path: Path) -> None:
    """Neither at first nor when all is committed."""
    async with opened(tmp_path) as journal:
        assert await journal.read(MANY, MANY) is None
        journal.append(samples.start())
        assert await read_all(journal, commit=True) == [samples.start()]
        assert await journal.read(MANY, MANY) is None


async def test_a_batch_is_bounded_in_records_and_bytes_but_never_empty(tmp_path: Path) -> None:
    """A record larger than the batch goes alone instead of never."""
    async with opened(tmp_path) as journal:
        big = samples.prompt(prompt="x" * 5000)
        for record in (big, samples.start(), samples.end()):
            journal.append(record)
        by_bytes, by_records = await journal.read(MANY, 100), await journal.read(2, LARGE)
        assert by_bytes is not None
        assert by_bytes.records == [big]
        assert by_records is not None
        assert by_records.records == [big, samples.start()]


async def test_an_entry_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    """A prompt of megabytes is recorded whole."""
    big = samples.prompt(prompt="x" * 100_000)
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for record in (samples.start(), big, samples.end()):
            journal.append(record)
        assert await read_all(journal) == [samples.start(), big, samples.end()]
    assert await left(tmp_path) == [samples.start(), big, samples.end()]


async def test_the_next_worker_reads_in_the_order_of_writing_whichever_file_was_made_first(
    tmp_path: Path,
) -> None:
    """A file that was made ahead may come into use after one that a burst made later."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        held = threading.Event()
        journal._making.submit(held.wait)  # no spare until it is set
        for index, record in enumerate(many(300)):
            journal.append(record)
            if index == 150:
                held.set()
                journal._making.submit(lambda: None).result()
    assert await left(tmp_path) == many(300)


async def test_stored_files_go_away_while_the_journal_is_used(tmp_path: Path) -> None:
    """Only what waits takes room, and the room allocated ahead."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for _ in range(20):
            for record in many(50):
                journal.append(record)
            assert await read_all(journal, commit=True) == many(50)
    assert files(tmp_path) == []


async def test_nothing_is_left_when_all_is_stored(tmp_path: Path) -> None:
    """An orderly end leaves an empty directory, but for the lock of those who start."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start())
        await read_all(journal, commit=True)
    assert os.listdir(tmp_path) == ["lock"]


async def test_the_backlog_tells_how_much_waits_and_for_how_long(tmp_path: Path) -> None:
    """Its age is that of the oldest record, and zero when nothing waits."""
    now = [100.0]
    async with opened(tmp_path, clock=lambda: now[0]) as journal:
        assert journal.backlog() == Backlog(0, 0, 0.0)
        journal.append(samples.start())
        first = await journal.read(MANY, LARGE)
        assert first is not None
        now[0] = 105.0
        journal.append(samples.end())
        now[0] = 107.5
        start, end = (len(segment.entry(codec.encode(one))) for one in (samples.start(), samples.end()))
        assert journal.backlog() == Backlog(2, start + end, 7.5)
        journal.commit(first.position)
        assert journal.backlog() == Backlog(1, end, 2.5)
        await read_all(journal, commit=True)
        assert journal.backlog() == Backlog(0, 0, 0.0)


async def test_the_listener_is_told_of_each_append(tmp_path: Path) -> None:
    """Nobody has to look again and again whether there is something."""
    calls: list[int] = []
    async with opened(tmp_path) as journal:
        journal.listen(lambda: calls.append(journal.backlog().records))
        journal.append(samples.start())
        journal.append(samples.end())
    assert calls == [1, 2]


async def test_it_can_be_opened_again_and_then_goes_on_with_what_was_left(tmp_path: Path) -> None:
    """A host that restarts its parts in one process."""
    journal = DiskJournal(tmp_path)
    for name in ("a", "b"):
        await journal.open()
        journal.append(samples.start(name))
        await journal.close()
    await journal.open()
    assert await read_all(journal) == [samples.start("a"), samples.start("b")]
    await journal.close()
    await journal.close()


async def test_a_closed_journal_takes_nothing_and_says_so(tmp_path: Path) -> None:
    """A request that ends too late finds an error and no silence."""
    async with opened(tmp_path) as journal:
        pass
    with pytest.raises(OSError, match="not open"):
        journal.append(samples.end())
    with pytest.raises(OSError, match="not open"):
        await journal.settle()
    assert journal.backlog() == Backlog(0, 0, 0.0)


# -- bounds ---------------------------------------------------------------------------------------------------------


async def test_a_full_journal_refuses_a_start_and_still_takes_what_follows_an_earlier_one(
    tmp_path: Path,
) -> None:
    """A journal that fills up doesn't tear interceptions in two, up to its reserve; storing makes room again."""
    size = len(segment.entry(codec.encode(samples.start())))
    async with opened(tmp_path, max_bytes=size, reserve_bytes=size) as journal:
        journal.append(samples.start())
        with pytest.raises(JournalFull, match="the limit is"):
            journal.append(samples.start("i2"))
        journal.append(samples.end())
        with pytest.raises(JournalFull):
            journal.append(samples.prompt(prompt="x" * 1000))
        await read_all(journal, commit=True)
        journal.append(samples.start("i2"))


async def test_adopted_records_count_and_the_room_allocated_ahead_does_not(tmp_path: Path) -> None:
    """The limit is about records that wait, whoever left them."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start())
        size = journal.backlog().size_bytes
    async with opened(tmp_path, max_bytes=2 * size - 1, reserve_bytes=0) as journal:
        assert journal.backlog().records == 1
        assert journal.backlog().size_bytes == size
        with pytest.raises(JournalFull):
            journal.append(samples.start("i2"))
        await read_all(journal, commit=True)
        journal.append(samples.start("i2"))


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file can be allocated."""

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        yield


async def test_on_a_full_disk_starts_are_refused_while_what_follows_finds_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed a file ahead; when there is room again, the journal tries again by itself."""
    now = [0.0]
    async with opened(tmp_path, clock=lambda: now[0]) as journal:
        with full_disk(monkeypatch):
            journal._making.submit(lambda: None).result()  # the first spare is made
            journal._spare = journal._making.submit(journal._make_spare)
            journal._making.submit(lambda: None).result()
            with pytest.raises(JournalFull, match=rf"No space left on device.*{tmp_path}"):
                journal.append(samples.start("refused"))
            journal.append(samples.end())
            journal._making.submit(lambda: None).result()  # tried again, in vain
        now[0] = 2.0
        with pytest.raises(JournalFull):
            journal.append(samples.start("the one that makes it try again"))
        journal._making.submit(lambda: None).result()
        journal.append(samples.start("taken"))
        assert await read_all(journal) == [samples.end(), samples.start("taken")]


async def test_it_says_beforehand_that_a_start_would_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words that name no path; and asking again and again makes it find out that there is room again."""
    now = [0.0]
    async with opened(tmp_path, clock=lambda: now[0]) as journal:
        assert journal.refusal() is None
        with full_disk(monkeypatch):
            journal._making.submit(lambda: None).result()  # the first spare is made
            journal._spare = journal._making.submit(journal._make_spare)
            journal._making.submit(lambda: None).result()
            assert journal.refusal() == "no further file can be allocated for the journal"
            journal._making.submit(lambda: None).result()  # tried again, in vain
        now[0] = 2.0
        assert journal.refusal() == "no further file can be allocated for the journal"
        journal._making.submit(lambda: None).result()
        assert journal.refusal() is None
    assert journal.refusal() == "the journal is not open"
    async with opened(tmp_path, max_bytes=100) as journal:
        assert journal.refusal() == "0 bytes of records are waiting, the limit is 100"


async def test_an_entry_that_the_disk_takes_only_in_part_is_refused_and_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal goes on in another file, for this process and for the next."""
    pwrite = os.pwrite

    def partly(descriptor: int, data: bytes, offset: int) -> int:
        return pwrite(descriptor, data[: len(data) // 2], offset)

    async with opened(tmp_path) as journal:
        journal.append(samples.start())
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", partly)
            with pytest.raises(OSError, match=str(tmp_path)):
                journal.append(samples.prompt())
        journal.append(samples.end())
        assert await read_all(journal) == [samples.start(), samples.end()]
    assert await left(tmp_path) == [samples.start(), samples.end()]


async def test_a_limit_of_the_operating_system_on_files_is_a_full_disk(tmp_path: Path) -> None:
    """A real refusal by the kernel: no file as large as that may be made."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    try:
        with pytest.raises(JournalUnusable, match=rf"can't be kept in {tmp_path}: File too large"):
            await DiskJournal(tmp_path).open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(tmp_path) == []


async def test_a_folder_that_cannot_be_used_is_one_sentence_with_its_path(tmp_path: Path) -> None:
    """It says what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(JournalUnusable) as refused:
        await DiskJournal(tmp_path / "file").open()
    assert str(refused.value) == (
        f"the journal can't be kept in {tmp_path}/file: File exists. "
        "Make room there or give rights to it, or choose another folder with journal_dir."
    )


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"reserve_bytes": -1}, "reserve_bytes"),
        ({"segment_bytes": 16}, "segment_bytes"),
        ({"fsync": "sometimes"}, "sometimes"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], name: str, tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(ValueError, match=name):
        DiskJournal(tmp_path, **options)


# -- after a death --------------------------------------------------------------------------------------------------


async def test_what_no_store_has_stays_for_the_next_worker(tmp_path: Path) -> None:
    """And nothing of what one has, but for what came after the last checkpoint."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for record in many(100):
            journal.append(record)
        batch = await journal.read(40, LARGE)
        assert batch is not None
        journal.commit(batch.position)
    async with opened(tmp_path) as journal:
        assert journal.backlog().records == 60
        journal.append(samples.end("new"))
        assert await read_all(journal) == [*many(100)[40:], samples.end("new")]
    assert await left(tmp_path) == [*many(100)[40:], samples.end("new")]
    assert files(tmp_path) == []


async def test_a_torn_tail_is_dropped_and_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its length; the records before it are there."""
    async with opened(tmp_path) as journal:
        for record in samples.whole():
            journal.append(record)
    (file,) = files(tmp_path)
    data = file.read_bytes()
    end = len(data.rstrip(b"\0"))
    last = len(segment.entry(codec.encode(samples.end())))
    for cut in (1, last // 2, last - 1):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data[: end - cut])
        async with opened(tmp_path) as journal:
            assert await read_all(journal) == samples.whole()[:-1]
            assert journal.torn == 1
        async with opened(tmp_path) as journal:
            assert await read_all(journal, commit=True) == samples.whole()[:-1]
            assert journal.torn == 0
    assert "was cut and is dropped" in caplog.text


async def test_damage_in_the_middle_of_a_file_costs_that_file_and_no_other(tmp_path: Path) -> None:
    """A disk that gives back something else is told once, and reading goes on behind it."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for record in many(100):
            journal.append(record)
        first = files(tmp_path)[0]
        with first.open("r+b") as file:
            file.seek(30)
            file.write(b"\xff\xff")
        found = await read_all(journal)
        assert found == await read_all(journal) == many(100)[-len(found) :]
        assert 60 < len(found) < 100
        assert journal.torn == 1
        assert await read_all(journal, commit=True) == found
        assert journal.backlog() == Backlog(0, 0, 0.0)


async def test_an_entry_that_this_version_does_not_know_is_put_aside_once(tmp_path: Path) -> None:
    """A newer version wrote it; it waits in a file of its own, and holds up nothing."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start())
        journal._segments.append(segment.entry(b'{"record_type":"dream"}'))
        journal.append(samples.end())
        for _ in range(2):
            assert await read_all(journal) == [samples.start(), samples.end()]
        assert journal.rejected == 1
        await read_all(journal, commit=True)
    aside = tmp_path / REJECTED
    assert aside.read_bytes() == b'{"record_type":"dream"}\n'
    assert aside.stat().st_mode & 0o777 == 0o600


async def test_a_batch_of_nothing_but_unknown_entries_is_passed_over(tmp_path: Path) -> None:
    """The drain sees an empty journal and not an empty batch."""
    async with opened(tmp_path) as journal:
        journal._segments.append(segment.entry(b"{}"))
        assert await journal.read(MANY, LARGE) is None
        assert journal.backlog().size_bytes == 0
        assert journal.rejected == 1


async def test_another_kind_of_file_is_put_aside_and_does_not_keep_the_worker_from_starting(
    tmp_path: Path,
) -> None:
    """It isn't deleted: somebody may want to look at it."""
    folder = tmp_path / "dead"
    folder.mkdir()
    (folder / "odd.journal").write_bytes(b"no journal at all")
    assert await left(tmp_path) == []
    assert (tmp_path / "odd.unreadable").read_bytes() == b"no journal at all"


APPENDER = """
import asyncio, sys
from pathlib import Path
from recorders.disk_journal import DiskJournal
from tests.recorders import samples

async def main():
    journal = DiskJournal(Path(sys.argv[1]), segment_bytes=8192, fsync=sys.argv[3])
    await journal.open()
    index = 0
    while True:
        journal.append(samples.prompt(f"{sys.argv[2]}-{index}"))
        await journal.settle()
        print(f"{sys.argv[2]}-{index}", flush=True)
        index += 1
        if index % 50 == 0:
            batch = await journal.read(20, 1 << 20)
            print("stored", *(record.interception_id for record in batch.records), flush=True)
            journal.commit(batch.position)

asyncio.run(main())
"""


def killed_appender(path: Path, name: str, lines: int) -> tuple[list[str], list[str]]:
    """Append in a process until it has said so many lines, kill it; the acknowledged IDs, and the stored ones."""
    command = [sys.executable, "-c", APPENDER, str(path), name, "never"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    said += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    stored = [word for line in said if line.startswith("stored") for word in line.split()[1:]]
    return [line.strip() for line in said if not line.startswith("stored")], stored


async def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    """Ten times `kill -9` at some moment; the next worker has each acknowledged record once, in order."""
    rng = random.Random(7)
    for turn in range(10):
        acknowledged, stored = killed_appender(tmp_path, f"t{turn}", rng.randrange(1, 1500))
        found = [record.interception_id for record in await left(tmp_path)]
        assert sorted(found, key=_number) == found
        assert len(set(found)) == len(found)
        assert set(acknowledged) <= set(found) | set(stored)
        assert len(set(found) - set(acknowledged)) <= 1, "at most the one that could not be told any more"
        assert len(set(found) & set(stored)) <= 20, "at most the batch of the last checkpoint comes again"


def _number(interception_id: str) -> int:
    return int(interception_id.partition("-")[2])


async def test_positions_of_one_worker_mean_nothing_to_another(tmp_path: Path) -> None:
    """Two workers on one directory share nothing."""
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        one.append(samples.start("one"))
        other.append(samples.start("other"))
        batch = await one.read(MANY, LARGE)
        assert batch is not None
        assert batch == Batch([samples.start("one")], batch.position, batch.ranges)
        assert await read_all(other) == [samples.start("other")]
    assert {record.interception_id for record in await left(tmp_path)} == {"one", "other"}


async def test_a_file_that_cannot_be_adopted_is_named_and_nothing_of_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start ends, for records would be left behind; the next start finds them all."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start())

    def broken(*arguments: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", broken)
        with pytest.raises(JournalUnusable, match="Input/output error"):
            await DiskJournal(tmp_path).open()
    assert await left(tmp_path) == [samples.start()]


async def test_closing_waits_for_a_read_that_nobody_waits_for_any_more(tmp_path: Path) -> None:
    """A drain that is stopped in the middle of a batch leaves it to the next one."""
    held = threading.Event()
    async with opened(tmp_path) as journal:
        journal.append(samples.start())
        journal._reading.submit(held.wait)
        reading = asyncio.create_task(journal.read(MANY, LARGE))
        await asyncio.wait({reading}, timeout=0)  # it has begun
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        held.set()
    assert await left(tmp_path) == [samples.start()]


# -- taken away -----------------------------------------------------------------------------------------------------


def found(path: Path, kind: str) -> list[Path]:
    return list(path.glob(f"*/{kind}"))


def take_away_by_moving(path: Path, to: Path) -> None:
    path.rename(to)


def take_away(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


async def test_a_folder_that_is_removed_under_it_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes from then on survives this process; what came before is stored, for as long as it lives."""
    path = tmp_path / "journal"
    async with opened(path) as journal:
        journal.append(samples.start("before"))
        take_away(path)
        journal.append(samples.start("after"))
        assert len(files(path)) == 1
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        async with opened(path):
            """Another worker starts, and leaves alone what is ours."""
        assert await read_all(journal) == [samples.start("before"), samples.start("after")]
    assert await left(path) == [samples.start("after")]


@pytest.mark.parametrize("kind", ["*.journal", "*.spare", "*"])
async def test_files_that_are_removed_under_it_are_replaced(tmp_path: Path, kind: str) -> None:
    """Whichever of them."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        journal.append(samples.start("before"))
        assert journal._spare is not None
        journal._spare.result()
        take_away(*found(tmp_path, kind))
        for record in [samples.start("after"), *many(50)]:
            journal.append(record)
        assert (await read_all(journal))[-50:] == many(50)
    assert (await left(tmp_path))[-51:] == [samples.start("after"), *many(50)]


async def test_a_probe_finds_that_it_was_removed_and_has_it_made_again(tmp_path: Path) -> None:
    """Also when nobody records anything; where it can't be made, it says so."""
    path = tmp_path / "journal"
    async with opened(path) as journal:
        take_away(path)
        path.touch()
        assert journal.refusal() == "the journal's folder was removed"
        with pytest.raises(OSError, match="journal"):
            journal.append(samples.start())
        take_away(path)
        assert journal.refusal() is None
        assert len(files(path)) == 1
        journal.append(samples.start())
    assert await left(path) == [samples.start()]


async def test_a_lock_that_is_removed_is_made_again_before_another_worker_takes_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is an empty old file, as those who tidy up like them."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start("before"))
        take_away(*found(tmp_path, "lock"))
        assert journal.refusal() is None
        async with opened(tmp_path) as other:
            assert other.backlog().records == 0
        journal.append(samples.start("after"))
        assert await read_all(journal) == [samples.start("before"), samples.start("after")]
        assert "is made again" in caplog.text


async def test_a_folder_that_was_moved_is_made_again(tmp_path: Path) -> None:
    """The next worker would look for it where it was. Whoever asks whether it is ready has it made."""
    path = tmp_path / "journal"
    async with opened(path) as journal:
        journal.append(samples.start("before"))
        take_away_by_moving(path, tmp_path / "parked")
        assert journal.refusal() is None
        journal.append(samples.start("after"))
        assert await read_all(journal) == [samples.start("before"), samples.start("after")]
    assert await left(path) == [samples.start("after")]


async def test_a_file_that_somebody_empties_costs_what_was_in_it_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the journal goes on in another file; what comes then is stored."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start("lost"))
        os.truncate(found(tmp_path, "*.journal")[0], 0)
        assert await journal.read(MANY, LARGE) is None
        assert journal.torn == 1
        assert "is damaged from byte 16 on" in caplog.text
        journal.append(samples.start("kept"))
        assert await read_all(journal) == [samples.start("kept")]
    assert await left(tmp_path) == [samples.start("kept")]


async def test_a_hole_in_a_file_is_damage_and_not_its_end(tmp_path: Path) -> None:
    """Somebody emptied it, and it was written to since: what came behind the hole can't be found, what follows can."""
    async with opened(tmp_path) as journal:
        journal.append(samples.start("lost"))
        os.truncate(found(tmp_path, "*.journal")[0], 0)
        journal.append(samples.start("behind the hole"))
        assert await journal.read(MANY, LARGE) is None
        assert journal.torn == 1
        journal.append(samples.start("kept"))
        assert await read_all(journal) == [samples.start("kept")]


# -- stored, and stored for good ------------------------------------------------------------------------------------


async def store_all(journal: DiskJournal) -> dict[str, int]:
    """Take all that waits for stored; returns how far each file is, as a store keeps it."""
    checkpoint: dict[str, int] = {}
    while batch := await journal.read(7, LARGE):
        checkpoint |= {name: range_.end for name, range_ in batch.ranges.items()}
        journal.mark_stored(batch.position)
    return checkpoint


async def test_a_batch_says_which_bytes_of_which_files_it_holds(tmp_path: Path) -> None:
    """Without a gap from one to the next; the first of a file begins at its beginning, which is 0."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for record in many(100):
            journal.append(record)
        reached: dict[str, int] = {}
        while batch := await journal.read(7, LARGE):
            for name, (start, end) in batch.ranges.items():
                assert start == reached.get(name, 0)
                reached[name] = end
            journal.mark_stored(batch.position)
        assert len(journal.files()) > 3
        assert list(reached)[-len(journal.files()) :] == journal.files()
        assert journal.backlog() == Backlog(0, 0, 0.0)
    finished = {path.stem: path.stat().st_size for path in files(tmp_path)[:-1]}
    assert finished == {name: reached[name] for name in finished}


async def test_what_is_stored_but_not_for_good_is_there_after_a_death(tmp_path: Path) -> None:
    """It doesn't wait, and can be had again."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for record in many(60):
            journal.append(record)
        await store_all(journal)
    async with opened(tmp_path) as journal:
        assert journal.backlog() == Backlog(0, 0, 0.0)
        assert await read_all(journal) == []
        names = journal.files()
        assert await journal.rewind(dict.fromkeys(names, 0)) == 60
        assert journal.backlog().records == 60
        assert await read_all(journal, commit=True) == many(60)
    assert files(tmp_path) == []


@pytest.mark.parametrize("stored", [0, 1, 20, 49, 50])
async def test_going_back_gives_out_again_what_lies_behind_the_checkpoint(
    tmp_path: Path, stored: int
) -> None:
    """And what was appended since, in the order of its coming; a second time as well."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        for record in many(50):
            journal.append(record)
        checkpoint: dict[str, int] = dict.fromkeys(journal.files(), 0)
        for _ in range(stored):
            batch = await journal.read(1, LARGE)
            assert batch is not None
            checkpoint |= {name: range_.end for name, range_ in batch.ranges.items()}
            journal.mark_stored(batch.position)
        await store_all(journal)
        journal.append(samples.start("later"))
        checkpoint = dict.fromkeys(journal.files(), 0) | checkpoint
        for was_stored in (50, 51):
            assert await journal.rewind(checkpoint) == was_stored - stored
            assert journal.backlog().records == 51 - stored
            assert await read_all(journal) == [*many(50)[stored:], samples.start("later")]
            await store_all(journal)


async def test_a_checkpoint_that_cannot_be_right_gives_out_the_whole_file(tmp_path: Path) -> None:
    """One too many does no harm; one that names no file of ours changes nothing, nor does one that is further."""
    async with opened(tmp_path) as journal:
        for record in many(10):
            journal.append(record)
        (stored,) = (await store_all(journal)).values()
        (name,) = journal.files()
        assert await journal.rewind({name: stored + 1000, "another": 0}) == 0
        assert await journal.rewind({name: stored - 5}) == 10
        assert await read_all(journal, commit=True) == many(10)


async def test_how_long_it_waits_is_not_told_too_low_when_it_waits_again(tmp_path: Path) -> None:
    """What comes again is older than what has not been stored yet."""
    now = 100.0
    async with opened(tmp_path, clock=lambda: now) as journal:
        journal.append(samples.start("a"))
        await store_all(journal)
        now = 110.0
        journal.append(samples.start("b"))
        now = 130.0
        assert journal.backlog().oldest_age_s == 20.0
        await journal.rewind(dict.fromkeys(journal.files(), 0))
        now = 131.0
        assert journal.backlog() == Backlog(2, journal.backlog().size_bytes, 21.0)


async def test_files_are_kept_until_they_are_stored_for_good_but_not_without_end(tmp_path: Path) -> None:
    """A database that never makes sure must not fill the disk."""
    async with opened(tmp_path, **SMALL_FILES) as journal:
        might_go = [journal.may_go]
        for record in many(300):
            journal.append(record)
        await store_all(journal)
        might_go.append(journal.may_go)
        kept = journal.files()
        assert len(kept) == MAX_KEPT + 1
        journal.commit(journal.stored)
        might_go.append(journal.may_go)
        assert journal.files() == kept[-1:]
    assert might_go == [False, True, False]
    assert sorted(journal.take_gone())[-len(kept) :] == sorted(kept)
    assert journal.take_gone() == []
    assert files(tmp_path) == []


async def test_what_was_stored_again_is_not_stored_for_good_by_that(tmp_path: Path) -> None:
    """It was once, and the store has lost it since."""
    async with opened(tmp_path) as journal:
        for record in many(10):
            journal.append(record)
        await store_all(journal)
        journal.commit(journal.stored)
        await journal.rewind(dict.fromkeys(journal.files(), 0))
        await store_all(journal)
    assert len(files(tmp_path)) == 1


async def test_what_waits_again_stays_for_the_next_worker_also_if_it_was_stored_for_good(
    tmp_path: Path,
) -> None:
    """A restored backup is behind what was sure."""
    async with opened(tmp_path) as journal:
        for record in many(10):
            journal.append(record)
        await store_all(journal)
        journal.commit(journal.stored)
        assert await journal.rewind(dict.fromkeys(journal.files(), 0)) == 10
    assert await left(tmp_path) == many(10)
