from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.__main__ import main
from gateway.purge_command import add_command, run
from gateway.settings import GatewayOptions, Settings
from gateway.settings_error import SettingsError
from providers.secret import Secret
from recorders.retention import LOCK
from recorders.stores.base import StoreError
from recorders.stores.tables import TABLES
from tests.gateway.command import command
from tests.recorders import aged
from tests.recorders.stores.kept import Kept

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EACH = {table.name: 1 for table in TABLES}
NONE = {table.name: 0 for table in TABLES}


class Outcome(NamedTuple):
    status: int
    counts: dict[str, int]
    said: str


class Terminal:
    """Runs `ai-gateway purge` at noon of the first of March, and shows what it printed."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capsys = capsys
        self._parser = argparse.ArgumentParser(prog="ai-gateway")
        flags = argparse.ArgumentParser(add_help=False)
        add_command(self._parser.add_subparsers(required=True), flags=flags)

    def __call__(self, line: str, *, retention: timedelta = 60 * DAY) -> Outcome:
        options = GatewayOptions(database_url=Secret(self.url), retention_s=retention.total_seconds())
        args = self._parser.parse_args(line.split())
        status = run(args, Settings(gateway=options), (), clock=lambda: NOW)
        return self.printed(status)

    def printed(self, status: int) -> Outcome:
        out, err = self._capsys.readouterr()
        counts = {name: int(number) for name, number in map(str.split, out.splitlines())}
        return Outcome(status, counts, err)

    def on_store(self, work: Callable[[Kept], Coroutine[None, None, None]]) -> None:
        """Let `work` have the database between two commands."""

        async def between() -> None:
            kept = Kept(self.url)
            await kept.store.open()
            try:
                await work(kept)
            finally:
                await kept.store.close()

        asyncio.run(between())

    def write(self, *days: int) -> None:
        """An interception of each age."""

        async def write(kept: Kept) -> None:
            await kept.write(*(record for age in days for record in aged.whole(NOW - age * DAY)))

        self.on_store(write)


@pytest.fixture
def terminal(database_url: str, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(database_url, capsys)


def test_it_deletes_what_is_older_than_said_and_prints_how_much(terminal: Terminal) -> None:
    """Counts on standard output, the sentence on standard error, status 0; the second time there is nothing."""
    terminal.write(31, 29)

    first, second = terminal("purge --older-than 30d"), terminal("purge --older-than 30d")

    assert (first.status, first.counts) == (0, EACH)
    assert first.said.startswith("Deleted records from before 2026-01-30 12:00:00 UTC in ")
    assert (second.status, second.counts) == (0, NONE)


def test_a_dry_run_prints_what_would_be_deleted_and_deletes_nothing(terminal: Terminal) -> None:
    """Also while a gateway is deleting: it only looks."""
    terminal.write(31, 29)

    async def dry_run(kept: Kept) -> None:
        async with kept.database.lock(LOCK):
            outcome = await asyncio.to_thread(terminal, "purge --older-than 30d --dry-run")
        assert (outcome.status, outcome.counts) == (0, EACH)
        assert outcome.said.startswith("Would delete records from before 2026-01-30 12:00:00 UTC in ")

    terminal.on_store(dry_run)

    assert terminal("purge --older-than 1d").counts == {name: 2 for name in EACH}


def test_without_an_age_the_configured_retention_counts(terminal: Terminal) -> None:
    """What the gateway would delete anyway, now."""
    terminal.write(61, 59)

    assert terminal("purge", retention=60 * DAY).counts == EACH


def test_a_retention_of_zero_is_no_age(terminal: Terminal) -> None:
    """It means for ever, so deleting needs an age of its own."""
    terminal.write(61)

    with pytest.raises(SettingsError, match="retention is 0, which keeps records for ever: say how old"):
        terminal("purge", retention=timedelta())
    assert terminal("purge --older-than 60d", retention=timedelta()).counts == EACH


@pytest.mark.parametrize("age", ["0", "0d", "30", "soon", "-3d"])
def test_an_age_that_is_none_is_refused(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    """Nobody deletes everything by a slip."""
    with pytest.raises(SystemExit) as ended:
        terminal(f"purge --older-than={age}")
    assert ended.value.code == 2
    assert "write it as 30d, 12h or 1d12h, more than 0" in capsys.readouterr().err


def test_while_a_gateway_is_deleting_it_says_so_and_leaves_it_alone(terminal: Terminal) -> None:
    """Status 1: trying again will help."""
    terminal.write(31)

    async def purge(kept: Kept) -> None:
        async with kept.database.lock(LOCK):
            outcome = await asyncio.to_thread(terminal, "purge --older-than 30d")
        assert (outcome.status, outcome.counts) == (1, {})
        assert outcome.said == (
            "ai-gateway: another process is deleting old records here: try again when it is through\n"
        )
        assert len(await kept.rows("aibridge_interceptions")) == 1

    terminal.on_store(purge)


def test_what_was_deleted_before_an_error_is_printed(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is gone, whatever the exit status is."""
    terminal.write(31)

    async def break_it(kept: Kept) -> None:
        await kept.database.execute("DROP TABLE aibridge_tool_usages")

    terminal.on_store(break_it)
    with pytest.raises(StoreError, match="aibridge_tool_usages"):
        terminal("purge --older-than 30d")

    assert terminal.printed(1).counts == EACH | dict.fromkeys(
        ("aibridge_interceptions", "aibridge_tool_usages", "aibridge_model_thoughts"), 0
    )


def test_a_database_of_no_kind_is_a_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """Not repeated, because it may hold a password."""
    with pytest.raises(SettingsError, match="database URL is of neither form") as caught:
        Terminal("mysql://u:fakepassword@h/d", capsys)("purge")
    assert "fakepassword" not in str(caught.value)


def test_a_database_that_cannot_be_opened_is_one_sentence_and_no_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was deleted."""
    (tmp_path / "file").write_text("in the way", "utf-8")
    url = f"sqlite:///{tmp_path}/file/gateway.db"

    assert main(["purge", "--older-than", "30d", "--ai-gateway-database-url", url]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ai-gateway: ")
    assert len(err.splitlines()) == 1


def test_it_is_a_command_that_names_the_database_without_its_password(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that whoever typed it sees what they hit."""
    url = postgres_url.replace("postgres@", "postgres:fakepassword@")

    assert main(["purge", "--dry-run", "--ai-gateway-database-url", url]) == 0

    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(TABLES)
    assert re.fullmatch(r"Would delete records from before .{19} UTC in postgres(ql)?://.*\n", err)
    assert "fakepassword" not in err


async def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    """As an operator types it."""
    async with command("purge", "--older-than", "1d12h", folder=tmp_path) as process:
        assert await process.ended() == 0
    assert len(process.out) == len(TABLES)
    assert len(process.log) == 1
