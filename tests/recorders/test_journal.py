from __future__ import annotations

import pytest

from recorders import codec
from recorders.journal import Backlog, JournalFull, MemoryJournal
from recorders.records import Record
from tests.recorders import samples

MANY = 1000


async def read_all(journal: MemoryJournal) -> list[Record]:
    batch = await journal.read(MANY, 1 << 30)
    return list(batch.records) if batch else []


async def test_records_come_out_in_the_order_of_their_coming() -> None:
    """The journal is a queue over all interceptions."""
    journal = MemoryJournal()
    records = samples.whole("a") + samples.whole("b")
    for record in records:
        journal.append(record)

    assert await read_all(journal) == records


async def test_what_was_read_and_not_committed_is_read_again() -> None:
    """A drain that failed half-way loses nothing."""
    journal = MemoryJournal()
    journal.append(samples.start())

    assert await read_all(journal) == await read_all(journal) == [samples.start()]


async def test_commit_forgets_just_what_was_read() -> None:
    """Records that came after the batch stay."""
    journal = MemoryJournal()
    journal.append(samples.start())
    batch = await journal.read(MANY, MANY)
    journal.append(samples.end())
    assert batch is not None

    journal.commit(batch.position)

    assert await read_all(journal) == [samples.end()]


async def test_committing_a_position_again_does_nothing() -> None:
    """A late second commit can't take records that nobody stored."""
    journal = MemoryJournal()
    journal.append(samples.start())
    batch = await journal.read(MANY, MANY)
    assert batch is not None
    journal.commit(batch.position)
    journal.append(samples.end())

    journal.commit(batch.position)

    assert await read_all(journal) == [samples.end()]


async def test_an_empty_journal_gives_no_batch() -> None:
    """There is nothing to store, and nothing to commit."""
    assert await MemoryJournal().read(MANY, MANY) is None


async def test_a_batch_is_bounded_in_records_and_bytes_but_never_empty() -> None:
    """A record larger than the batch goes alone instead of never."""
    journal = MemoryJournal()
    big = samples.prompt(prompt="x" * 5000)
    for record in (big, samples.start(), samples.end()):
        journal.append(record)

    by_bytes = await journal.read(MANY, 100)
    by_records = await journal.read(2, 1 << 30)

    assert by_bytes is not None
    assert by_bytes.records == [big]
    assert by_records is not None
    assert by_records.records == [big, samples.start()]


async def test_a_full_journal_refuses_a_start_and_still_takes_what_follows_an_earlier_one() -> None:
    """A journal that fills up doesn't tear interceptions in two."""
    size = len(codec.encode(samples.start()))
    journal = MemoryJournal(max_bytes=size, reserve_bytes=1000)
    journal.append(samples.start())

    with pytest.raises(JournalFull):
        journal.append(samples.start("i2"))
    journal.append(samples.end())

    assert await read_all(journal) == [samples.start(), samples.end()]


def test_the_reserve_has_an_end_too() -> None:
    """Memory is bounded whatever comes."""
    journal = MemoryJournal(max_bytes=1, reserve_bytes=0)

    with pytest.raises(JournalFull):
        journal.append(samples.end())


async def test_committing_makes_room_again() -> None:
    """A full journal works again as soon as the store does."""
    size = len(codec.encode(samples.start()))
    journal = MemoryJournal(max_bytes=size, reserve_bytes=0)
    journal.append(samples.start())
    journal.commit(1)

    journal.append(samples.start("i2"))

    assert await read_all(journal) == [samples.start("i2")]


def test_the_backlog_tells_how_much_waits_and_for_how_long() -> None:
    """Its age is that of the oldest record, and zero when nothing waits."""
    now = [100.0]
    journal = MemoryJournal(clock=lambda: now[0])
    assert journal.backlog() == Backlog(0, 0, 0.0)
    journal.append(samples.start())
    now[0] = 105.0
    journal.append(samples.end())
    now[0] = 107.5

    size = len(codec.encode(samples.start())) + len(codec.encode(samples.end()))
    assert journal.backlog() == Backlog(2, size, 7.5)


def test_it_says_beforehand_that_a_start_would_be_refused() -> None:
    """For whoever decides where to send requests; asking changes nothing."""
    assert MemoryJournal().refusal() is None
    journal = MemoryJournal(max_bytes=2000)
    journal.append(samples.prompt(prompt="x" * 1500))
    size = journal.backlog().size_bytes
    assert journal.refusal() == f"{size} bytes of records are waiting, the limit is 2000"
    journal.commit(1)
    assert journal.refusal() is None


def test_the_listener_is_told_of_each_append() -> None:
    """Nobody has to look again and again whether there is something."""
    journal = MemoryJournal()
    calls: list[int] = []
    journal.listen(lambda: calls.append(journal.backlog().records))

    journal.append(samples.start())
    journal.append(samples.end())

    assert calls == [1, 2]


def test_a_bound_that_makes_no_sense_is_refused() -> None:
    """The message names the option."""
    with pytest.raises(ValueError, match="max_bytes"):
        MemoryJournal(max_bytes=0)
    with pytest.raises(ValueError, match="reserve_bytes"):
        MemoryJournal(reserve_bytes=-1)
