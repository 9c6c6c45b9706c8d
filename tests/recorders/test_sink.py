from __future__ import annotations

import logging
from pathlib import Path

import pytest

from recorders.disk_journal import DiskJournal
from recorders.journal import JournalFull, MemoryJournal
from recorders.records import Record
from recorders.sink import QUIET_S, JournalSink, RecordingUnavailable, WhenFull
from recorders.stores.memory import MemoryStore
from tests.recorders import samples


class BrokenJournal(MemoryJournal):
    """Takes nothing, as a journal on a full disk would."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def append(self, record: Record) -> None:
        raise self.error


def broken_observer(record: Record) -> None:
    raise ZeroDivisionError(f"while looking at {record}")


async def test_a_record_goes_to_the_journal_and_to_every_observer() -> None:
    """Observers see what was recorded, in order."""
    journal, first, second = MemoryJournal(), MemoryStore(), MemoryStore()
    sink = JournalSink(journal, observers=[first.emit, second.emit])

    for record in samples.whole():
        sink.emit(record)

    batch = await journal.read(100, 1 << 20)
    assert batch is not None
    assert batch.records == first.records == second.records == samples.whole()


@pytest.mark.parametrize("error", [JournalFull("full"), OSError(28, "No space left on device")])
def test_a_start_that_the_journal_does_not_take_is_refused(error: Exception) -> None:
    """The caller learns it in time, and no observer is told of what won't happen."""
    observer = MemoryStore()
    sink = JournalSink(BrokenJournal(error), observers=[observer.emit])

    with pytest.raises(RecordingUnavailable):
        sink.emit(samples.start())

    assert observer.records == []
    assert sink.lost == 0


def test_what_follows_a_start_is_never_refused_but_counted_when_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The answer under way goes on; observers still see the record; the log says so without showing it."""
    observer = MemoryStore()
    sink = JournalSink(BrokenJournal(OSError("disk of What is a monad?")), observers=[observer.emit])

    sink.emit(samples.prompt())
    sink.emit(samples.end())

    assert sink.lost == 2
    assert observer.records == [samples.prompt(), samples.end()]
    assert "OSError" in caplog.text
    assert "monad" not in caplog.text


def test_an_observer_that_fails_disturbs_neither_the_sink_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who watches can't break what is watched, and what it raised isn't quoted."""
    journal, observer = MemoryJournal(), MemoryStore()
    sink = JournalSink(journal, observers=[broken_observer, observer.emit])

    sink.emit(samples.prompt())

    assert journal.backlog().records == 1
    assert observer.records == [samples.prompt()]
    assert "broken_observer failed (ZeroDivisionError)" in caplog.text
    assert "monad" not in caplog.text


def test_the_same_trouble_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A broken observer can't flood the log."""
    now = [0.0]
    sink = JournalSink(MemoryJournal(), observers=[broken_observer], clock=lambda: now[0])

    with caplog.at_level(logging.ERROR):
        for time in (0.0, 1.0, QUIET_S - 1, QUIET_S):
            now[0] = time
            sink.emit(samples.end())

    assert len(caplog.records) == 2


class Moody(MemoryJournal):
    """Takes records only while `works`."""

    works = True

    def append(self, record: Record) -> None:
        if not self.works:
            raise JournalFull("full")
        super().append(record)

    async def settle(self) -> None:
        if not self.works:
            raise OSError(5, "Input/output error", "/data/journal/x")


async def test_what_goes_on_unrecorded_is_counted_and_never_recorded_by_halves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also when the journal works again before its end; observers, which are no recording, see it all."""
    journal, observer = Moody(), MemoryStore()
    sink = JournalSink(journal, observers=[observer.emit], when_full="unrecorded")
    first, *rest = samples.whole("a")
    journal.works = False
    sink.emit(first)
    journal.works = True
    for record in [samples.start("b"), *rest, samples.end("b")]:
        sink.emit(record)

    batch = await journal.read(100, 1 << 20)
    assert batch is not None
    assert batch.records == [samples.start("b"), samples.end("b")]
    assert (sink.unrecorded, sink.lost) == (1, 0)
    assert observer.of("a") == samples.whole("a")
    assert "requests go on unrecorded: the journal does not take records (JournalFull: full)" in caplog.text
    sink.emit(samples.prompt("a"))
    assert journal.backlog().records == 3, "an interception that has ended is not remembered"


def test_the_memory_of_what_goes_on_unrecorded_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it requests are refused, rather than recorded by halves."""
    monkeypatch.setattr("recorders.sink.MAX_UNRECORDED", 2)
    sink = JournalSink(BrokenJournal(JournalFull("full")), when_full="unrecorded")
    sink.emit(samples.start("a"))
    sink.emit(samples.start("b"))
    with pytest.raises(RecordingUnavailable):
        sink.emit(samples.start("c"))
    sink.emit(samples.end("a"))
    sink.emit(samples.start("c"))
    assert (sink.unrecorded, sink.lost) == (3, 0)


@pytest.mark.parametrize("when_full", ["refuse", "unrecorded"])
async def test_a_journal_that_does_not_settle_is_counted_and_refuses_where_a_full_one_would(
    when_full: WhenFull, caplog: pytest.LogCaptureFixture
) -> None:
    """What can't be made safe is treated like what can't be taken; the log names the file."""
    journal = Moody()
    sink = JournalSink(journal, when_full=when_full)
    await sink.settle()
    journal.works = False
    if when_full == "refuse":
        with pytest.raises(RecordingUnavailable):
            await sink.settle()
    else:
        await sink.settle()
    assert sink.unsettled == 1
    assert "/data/journal/x" in caplog.text


async def test_with_a_journal_on_disk_a_settled_record_is_synced(tmp_path: Path) -> None:
    """The sink passes the question on."""
    journal = DiskJournal(tmp_path, fsync="always")
    await journal.open()
    sink = JournalSink(journal)
    sink.emit(samples.start())
    await sink.settle()
    await journal.close()
    with pytest.raises(RecordingUnavailable):
        await sink.settle()
