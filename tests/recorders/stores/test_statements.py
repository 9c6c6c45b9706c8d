"""What the statements do is shown on SQLite, which is always there."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recorders.records import Record
from recorders.stores.database import Row
from recorders.stores.sql import SqlStore
from recorders.stores.sqlite import SQLiteDatabase
from recorders.stores.statements import statements_for
from tests.recorders import samples

TABLES = (
    "aibridge_interceptions",
    "aibridge_token_usages",
    "aibridge_user_prompts",
    "aibridge_tool_usages",
    "aibridge_model_thoughts",
)


class Kept:
    """A store and a look into its tables."""

    def __init__(self, path: Path) -> None:
        self.database = SQLiteDatabase(path)
        self.store = SqlStore(self.database)

    async def write(self, *records: Record) -> None:
        await self.store.write(records)

    async def rows(self, table: str) -> list[Row]:
        return await self.database.fetch(f"SELECT * FROM {table} ORDER BY id")

    async def everything(self) -> dict[str, list[Row]]:
        return {table: await self.rows(table) for table in TABLES}

    async def thread(self, interception_id: str) -> tuple[Any, ...]:
        (row,) = await self.database.fetch(
            "SELECT thread_parent_id, thread_root_id, session_id FROM aibridge_interceptions WHERE id = ?",
            interception_id,
        )
        return tuple(row.values())


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path / "records.db")
    await kept.store.open()
    yield kept
    await kept.store.close()


async def test_every_field_of_every_record_is_in_its_column(kept: Kept) -> None:
    """A whole interception, column by column."""
    await kept.write(*samples.whole())

    everything = await kept.everything()
    assert everything == {
        "aibridge_interceptions": [
            {
                "id": "i1",
                "initiator_id": "u1",
                "api_key_id": "k1",
                "provider": "anthropic",
                "provider_name": "anthropic-corp",
                "model": "claude",
                "client": "Claude Code",
                "client_session_id": None,
                "session_id": "i1",
                "started_at": "2026-01-02T12:00:00.123456Z",
                "metadata": '{"username":"anna"}',
                "correlating_tool_call_id": None,
                "thread_parent_id": None,
                "thread_root_id": None,
                "credential_kind": "centralized",
                "credential_hint": "sk-a...0001",
                "ended_at": "2026-01-02T12:00:03.123456Z",
                "outcome": "completed",
                "status": 200,
                "error_type": None,
                "error_message": None,
            }
        ],
        "aibridge_token_usages": [
            {
                "id": "i1-tokens",
                "interception_id": "i1",
                "provider_response_id": "msg_1",
                "input_tokens": 10,
                "output_tokens": 20,
                "cache_read_input_tokens": 30,
                "cache_write_input_tokens": 40,
                "metadata": '{"cache_ephemeral_5m_input":5}',
                "created_at": "2026-01-02T12:00:00.123456Z",
            }
        ],
        "aibridge_user_prompts": [
            {
                "id": "i1-prompt",
                "interception_id": "i1",
                "provider_response_id": "msg_1",
                "prompt": "What is a monad?",
                "metadata": "{}",
                "created_at": "2026-01-02T12:00:00.123456Z",
            }
        ],
        "aibridge_tool_usages": [
            {
                "id": "i1-tool",
                "interception_id": "i1",
                "provider_response_id": "msg_1",
                "provider_tool_call_id": "call_1",
                "tool": "Bash",
                "input": '{"command": "ls"}',
                "server_url": None,
                "injected": 0,
                "invocation_error": None,
                "metadata": "{}",
                "created_at": "2026-01-02T12:00:00.123456Z",
            }
        ],
        "aibridge_model_thoughts": [
            {
                "id": "i1-thought",
                "interception_id": "i1",
                "content": "Let me think.",
                "metadata": '{"source":"thinking"}',
                "created_at": "2026-01-02T12:00:00.123456Z",
            }
        ],
    }


async def test_records_may_come_in_any_order_one_by_one_and_again(kept: Kept, tmp_path: Path) -> None:
    """Each order, each record offered twice, leaves the same rows."""
    await kept.write(*samples.whole())
    expected = await kept.everything()

    for number, order in enumerate(itertools.permutations(samples.whole(), 6)):
        if number % 24:
            continue  # every pair of records comes first once; all 720 orders would only take longer
        for table in TABLES:
            await kept.database.execute(f"DELETE FROM {table}")
        for record in (*order, *order):
            await kept.write(record)
        assert await kept.everything() == expected


async def test_an_end_without_its_start_waits_for_it(kept: Kept) -> None:
    """What the start knows is open until it comes."""
    await kept.write(samples.end())
    (row,) = await kept.rows("aibridge_interceptions")
    assert row["outcome"] == "completed"
    assert row["started_at"] is None

    await kept.write(samples.start())

    (row,) = await kept.rows("aibridge_interceptions")
    assert row["started_at"] == "2026-01-02T12:00:00.123456Z"
    assert row["outcome"] == "completed"


@pytest.mark.parametrize("end_first", [True, False])
async def test_the_credential_that_answered_is_the_one_that_counts(kept: Kept, end_first: bool) -> None:
    """A failover may have chosen another than the start named."""
    records: list[Record] = [samples.start(), samples.end(credential_hint="sk-b...0002")]

    for record in reversed(records) if end_first else records:
        await kept.write(record)

    (row,) = await kept.rows("aibridge_interceptions")
    assert row["credential_hint"] == "sk-b...0002"


async def test_the_first_version_of_a_record_stays(kept: Kept) -> None:
    """A record offered again never changes what is kept."""
    await kept.write(*samples.whole())

    await kept.write(
        samples.start(model="other"),
        samples.end(outcome="client_left", credential_hint="other"),
        samples.tokens(input_tokens=99),
        samples.prompt(prompt="other"),
    )

    (row,) = await kept.rows("aibridge_interceptions")
    assert (row["model"], row["outcome"], row["credential_hint"]) == ("claude", "completed", "sk-a...0001")
    assert (await kept.rows("aibridge_token_usages"))[0]["input_tokens"] == 10
    assert (await kept.rows("aibridge_user_prompts"))[0]["prompt"] == "What is a monad?"


async def test_what_no_database_takes_is_replaced_and_the_record_kept(kept: Kept) -> None:
    """NUL, lone surrogates, huge counts: from a client or a provider, and never a reason to stop."""
    await kept.write(
        samples.prompt(prompt="a\x00b\ud800c'; DROP TABLE users; --"),
        samples.tokens(input_tokens=10**30, metadata={"x": "\ud800\x00"}),
    )

    (prompt,) = await kept.rows("aibridge_user_prompts")
    (usage,) = await kept.rows("aibridge_token_usages")
    assert prompt["prompt"] == "a\ufffdb\ufffdc'; DROP TABLE users; --"
    assert usage["input_tokens"] == 2**63 - 1
    assert json.loads(usage["metadata"]) == {"x": "\ufffd\x00"}


async def test_the_answer_to_a_tool_call_belongs_to_the_thread_of_the_call(kept: Kept) -> None:
    """Parent, root and session follow a chain of three, also within one batch."""
    await kept.write(
        samples.start("a"),
        samples.tool("a", tool_call_id="call_a"),
        samples.start("b", correlating_tool_call_id="call_a"),
        samples.tool("b", tool_call_id="call_b"),
        samples.start("c", correlating_tool_call_id="call_b"),
    )

    assert await kept.thread("a") == (None, None, "a")
    assert await kept.thread("b") == ("a", "a", "a")
    assert await kept.thread("c") == ("b", "a", "a")


async def test_the_clients_own_session_id_wins(kept: Kept) -> None:
    """The thread is linked all the same."""
    await kept.write(
        samples.start("a", client_session_id="s"),
        samples.tool("a"),
        samples.start("b", correlating_tool_call_id="call_1", client_session_id="t"),
    )

    assert await kept.thread("a") == (None, None, "s")
    assert await kept.thread("b") == ("a", "a", "t")


async def test_another_users_call_of_the_same_id_is_no_parent(kept: Kept) -> None:
    """Nobody gets into the thread of somebody else by guessing a call ID."""
    await kept.write(
        samples.start("a", initiator_id="u2"),
        samples.tool("a"),
        samples.start("b", correlating_tool_call_id="call_1"),
    )

    assert await kept.thread("b") == (None, None, "b")


async def test_of_several_calls_with_the_same_id_the_newest_is_the_parent(kept: Kept) -> None:
    """Some providers count their calls from one in every answer."""
    await kept.write(
        samples.start("new"),
        samples.tool("new", created_at=samples.NOON + timedelta(seconds=1)),
        samples.start("old"),
        samples.tool("old", created_at=samples.NOON),
        samples.start("b", correlating_tool_call_id="call_1"),
    )

    assert (await kept.thread("b"))[0] == "new"


async def test_an_interception_is_not_its_own_parent(kept: Kept) -> None:
    """Its own tool usage may be stored before its start."""
    await kept.write(
        samples.tool("a"), samples.end("a"), samples.start("a", correlating_tool_call_id="call_1")
    )

    assert await kept.thread("a") == (None, None, "a")


async def test_a_thread_that_was_found_once_stays_when_the_start_comes_again(kept: Kept) -> None:
    """Also when a newer call of the same ID has come in between."""
    child = samples.start("b", correlating_tool_call_id="call_1")
    await kept.write(samples.start("a"), samples.tool("a"), child)
    await kept.write(samples.start("z"), samples.tool("z", created_at=samples.NOON + timedelta(seconds=1)))

    await kept.write(child)

    assert await kept.thread("b") == ("a", "a", "a")


async def test_a_thread_that_the_record_already_names_is_kept(kept: Kept) -> None:
    """Whoever knows it better than the store need not leave it to the store."""
    await kept.write(samples.start("b", thread_parent_id="p", thread_root_id="r"))

    assert await kept.thread("b") == ("p", "r", "r")


async def test_every_statement_finds_its_rows_by_an_index(kept: Kept) -> None:
    """Storing takes as long with ten million rows as with ten."""
    child = samples.start("b", correlating_tool_call_id="call_1")
    for record in (child, *samples.whole()):
        for sql, parameters in statements_for(record):
            plan = await kept.database.fetch(f"EXPLAIN QUERY PLAN {sql}", *parameters)
            assert not [row["detail"] for row in plan if str(row["detail"]).startswith("SCAN aibridge")]
