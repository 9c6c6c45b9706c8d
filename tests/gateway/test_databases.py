"""The whole gateway on each kind of database: users, keys, authentication and records, by command and in process."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.app import create_app
from providers.secret import Secret
from recorders.stores.urls import database_for
from tests.answers import anthropic
from tests.answers.turn import ToolUse, Turn
from tests.gateway.rig import PREFIX, AppTransport, client_of, gateway_settings
from tests.recorders.stores.line import line_to
from tests.recorders.stores.other_process import lock_holders
from tests.upstream import Upstream

CALL = ToolUse("Bash", '{"command": "ls"}', call_id="toolu_1")
QUESTION = {"role": "user", "content": "What is here?"}
ANSWER = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}]}
URL = f"{PREFIX}/anthropic/v1/messages"


def body(*messages: object) -> bytes:
    return json.dumps({"model": "claude", "stream": True, "messages": messages}).encode()


@pytest.fixture
def token(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Anna's, made by the command as an operator makes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_GATEWAY_DATABASE_URL", database_url)
    assert main(["users", "create", "anna"]) == 0
    assert main(["keys", "create", "--user", "anna"]) == 0
    token = capsys.readouterr().out.strip()
    assert re.fullmatch(r"[A-Za-z0-9]{10}-[A-Za-z0-9]+", token)
    return token


async def test_a_key_made_by_command_opens_the_gateway_and_its_turns_are_one_thread(
    database_url: str, token: str
) -> None:
    """From `users create` to the rows of two model calls."""
    upstream = Upstream(
        [
            anthropic.reply(Turn(tool=CALL), streamed=True),
            anthropic.reply(Turn(text="A file."), streamed=True),
        ]
    )
    settings = gateway_settings(auth="database", database_url=Secret(database_url))
    app = create_app(settings, transport=AppTransport(upstream))
    async with app.lifespan(), client_of(app) as client:
        for messages in ([QUESTION], [QUESTION, ANSWER]):
            answer = await client.post(
                URL, content=body(*messages), headers={"authorization": f"Bearer {token}"}
            )
            assert answer.status_code == 200
        refused = await client.post(URL, content=body(QUESTION), headers={"authorization": "Bearer wrong"})
        assert refused.status_code == 403
        assert await app.drain.flush(10)

    database = database_for(database_url)
    await database.open()
    rows = await database.fetch(
        "SELECT id, outcome, thread_parent_id, thread_root_id, session_id "
        "FROM aibridge_interceptions ORDER BY started_at, id"
    )
    tools = await database.fetch("SELECT tool, provider_tool_call_id FROM aibridge_tool_usages")
    await database.close()
    first, second = (row["id"] for row in rows)
    assert [tuple(row.values())[1:] for row in rows] == [
        ("completed", None, None, first),
        ("completed", first, first, first),
    ]
    assert second != first
    assert tools == [{"tool": "Bash", "provider_tool_call_id": "toolu_1"}]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_postgresql_may_go_away_and_come_back_while_the_gateway_serves(
    database_url: str, token: str
) -> None:
    """A key that was seen goes on working, one that wasn't gets 503, and what happened is on record afterwards."""
    upstream = Upstream([anthropic.reply(Turn(text="Hello"), streamed=True) for _ in range(2)])
    async with line_to(database_url) as line:
        settings = gateway_settings(auth="database", database_url=Secret(line.url), auth_timeout_s=0.5)
        app = create_app(settings, transport=AppTransport(upstream))
        async with app.lifespan(), client_of(app) as client:
            headers = {"authorization": f"Bearer {token}"}
            assert (await client.post(URL, content=body(QUESTION), headers=headers)).status_code == 200

            await line.cut()
            during = await client.post(URL, content=body(QUESTION), headers=headers)
            unknown = {"authorization": f"Bearer AAAAAAAAAA-{'A' * 24}"}
            stranger = await client.post(URL, content=body(QUESTION), headers=unknown)
            assert (during.status_code, stranger.status_code) == (200, 503)

            await line.mend()
            stranger = await client.post(URL, content=body(QUESTION), headers=unknown)
            assert stranger.status_code == 403
            assert await app.drain.flush(60)
            assert app.database is not None
            (row,) = await app.database.fetch(
                "SELECT count(*) AS n FROM aibridge_interceptions WHERE outcome = 'completed'"
            )
            assert row["n"] == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nothing_that_a_gateway_does_drops_its_locks_on_sqlite(
    database_url: str, token: str, tmp_path: Path
) -> None:
    """Or the next program that closes the file takes the write-ahead log away from it."""
    path = tmp_path / "gateway.db"
    upstream = Upstream([anthropic.reply(Turn(text="Hello"), streamed=True)])
    settings = gateway_settings(
        auth="database",
        database_url=Secret(database_url),
        journal_dir=str(tmp_path / "journal"),
        dump_dir=str(tmp_path / "dumps"),
        metrics_route=True,
        chat_enabled=True,
        retention_s=3600.0,
    )
    headers = {"authorization": f"Bearer {token}"}
    app = create_app(settings, transport=AppTransport(upstream))
    async with app.lifespan(), client_of(app) as client:
        answer = await client.post(URL, content=body(QUESTION), headers=headers)
        assert answer.status_code == 200
        assert await app.drain.flush(10)
        for route in ("/sessions", "/models", "/chats", "/provider-keys", "/readyz", "/metrics"):
            assert (await client.get(route, headers=headers)).status_code == 200, route
        await app.reload(settings)
        assert app.database is not None
        async with app.database.lock("test"):
            await app.database.check()
        assert await app.database.sync()

        assert lock_holders(path) == {"": os.getpid(), "-shm": os.getpid()}
