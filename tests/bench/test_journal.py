"""The benchmark of the journal appends what it says, and looks for it afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorders.disk_journal import DiskJournal
from recorders.durability import Fsync
from recorders.records import InterceptionEnd, InterceptionStart
from tests.bench import journal


def test_a_turn_is_one_interception_from_start_to_end() -> None:
    """As the gateway records one."""
    for turn in journal.turns(3):
        assert len({record.interception_id for record in turn}) == 1
        assert len(turn) == journal.RECORDS_OF_A_TURN
        assert isinstance(turn[0], InterceptionStart)
        assert isinstance(turn[-1], InterceptionEnd)


@pytest.mark.parametrize("fsync", journal.POLICIES)
async def test_every_policy_is_measured_and_its_records_are_found(fsync: Fsync, tmp_path: Path) -> None:
    """Its own check runs; the figures are for quiet machines."""
    cost = await journal.measure(tmp_path, fsync, journal.turns(20), connections=4)

    assert cost.per_s > 0
    assert cost.cpu_us >= cost.loop_us > 0


async def test_a_record_that_is_missing_ends_the_benchmark(tmp_path: Path) -> None:
    """There is no figure for a journal that loses something."""
    (turn,) = journal.turns(1)
    taking = DiskJournal(tmp_path)
    await taking.open()
    for record in turn[:-1]:
        taking.append(record)
    await taking.close()

    with pytest.raises(journal.RecordsMissingError):
        await journal.check(tmp_path, turn)


def test_each_kind_of_record_has_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Three policies, six kinds, and the machine."""
    assert journal.main(["--records", "70", "--folder", str(tmp_path)]) == 0

    out = capsys.readouterr().out
    assert out.startswith("journal: ")
    assert [line.split()[0] for line in out.splitlines() if line.endswith(" us")] == [
        "always",
        "interval",
        "never",
        "InterceptionStart",
        "PromptUsage",
        "TokenUsage",
        "ToolUsage",
        "ModelThought",
        "InterceptionEnd",
    ]
