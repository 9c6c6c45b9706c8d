"""What the statements do, on each kind of database."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from recorders.records import Record
from recorders.stores.statements import row_by_row, table_by_table
from recorders.stores.tables import INTERCEPTIONS, TABLES, rows_of
from tests.recorders import samples
from tests.recorders.stores.kept import Kept


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
                "injected": False,
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


async def test_records_may_come_in_any_order_one_by_one_and_again(kept: Kept) -> None:
    """Each record offered twice, in many orders, leaves the same rows."""
    await kept.write(*samples.whole())
    expected = await kept.everything()

    for number, order in enumerate(itertools.permutations(samples.whole(), 6)):
        if number % 24:
            continue  # every pair of records comes first once; all 720 orders would only take longer
        await kept.forget()
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


async def test_an_interception_may_come_in_one_batch_or_in_many(kept: Kept) -> None:
    """The halves of its row find each other before the database, or in it."""
    for split in range(1, 6):
        await kept.forget()
        await kept.write(*samples.whole()[:split])
        await kept.write(*samples.whole()[split:], *samples.whole())
        divided = await kept.everything()

        await kept.forget()
        await kept.write(*samples.whole())

        assert await kept.everything() == divided


async def test_two_stores_may_write_the_same_at_once(kept: Kept, database_url: str) -> None:
    """As after a crash, when two workers drain what a third one left."""
    other = Kept(database_url)
    await other.store.open()
    records = [record for number in range(20) for record in samples.whole(f"i{number:02}")]

    for _ in range(5):
        async with asyncio.TaskGroup() as group:
            group.create_task(kept.write(*records))
            group.create_task(other.write(*reversed(records)))

    assert [len(rows) for rows in (await kept.everything()).values()] == [20] * 5
    await other.store.close()


async def test_ids_of_any_length_are_kept_apart(kept: Kept) -> None:
    """Clients and providers choose them, and an index doesn't hold everything."""
    long = "\U0001f600" * 5000
    await kept.write(
        samples.start("a", client_session_id=long),
        samples.tool("a", tool_call_id=f"{long}1"),
        samples.start("b", correlating_tool_call_id=f"{long}1"),
        samples.start("c", correlating_tool_call_id=f"{long}2"),
    )

    assert (await kept.thread("b"))[0] == "a"
    assert (await kept.thread("c"))[0] is None


def test_rows_go_to_a_database_in_this_process_one_by_one_and_to_a_distant_one_by_the_table() -> None:
    """One text is cheaper to send than a thousand values."""
    rows = rows_of([*samples.whole("a"), *samples.whole("b")])

    assert len(list(row_by_row(rows))) == 2 * len(TABLES)
    statements = list(table_by_table(rows))
    assert len(statements) == len(TABLES)
    assert [row["id"] for row in json.loads(str(statements[0].parameters[0]))] == ["a", "b"]
    assert statements[0].sql.startswith(f"INSERT INTO {INTERCEPTIONS.name} ")
