"""The request in process passes everything a real one passes, and is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorders.disk_journal import DiskJournal
from recorders.records import InterceptionEnd, InterceptionStart, TokenUsage, ToolUsage
from tests.bench.in_process import in_process
from tests.bench.load import WrongAnswerError
from tests.bench.rows import ROWS
from tests.bench.template import Template


@pytest.mark.parametrize("name", ["small", "turn", "blocking", "models"])
async def test_each_row_is_answered_as_its_provider_answers(name: str, tmp_path: Path) -> None:
    """The check of the answer is the harness's own."""
    async with in_process(ROWS[name], tmp_path) as gateway:
        await gateway.requests(2)


async def test_a_turn_is_recorded_on_disk_and_logged(tmp_path: Path) -> None:
    """What a measurement counts holds the journal and the access log."""
    async with in_process(ROWS["turn"], tmp_path) as gateway:
        await gateway.request()

    journal = DiskJournal(tmp_path / "journal")
    await journal.open()
    batch = await journal.read(100, 1 << 20)
    await journal.close()
    kinds = [type(record) for record in batch.records] if batch else []
    assert kinds[0] is InterceptionStart
    assert kinds[-1] is InterceptionEnd
    assert {TokenUsage, ToolUsage} < set(kinds)
    assert (tmp_path / "log").read_text().count(" request request_id=") == 1


async def test_a_wrong_answer_ends_the_measurement(tmp_path: Path) -> None:
    """An answer that isn't the row's own is no figure."""
    async with in_process(ROWS["small"], tmp_path) as gateway:
        gateway.expected = Template(b"something else").render(0)
        with pytest.raises(WrongAnswerError, match="small"):
            await gateway.request()
