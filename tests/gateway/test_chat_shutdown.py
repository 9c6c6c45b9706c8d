"""A turn that runs while `ai-gateway serve`, as a real process, is told to end: with a listener and without."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.chats import MODEL, chatty, environment, interrupted_by
from tests.gateway.command import PATIENCE_S, Process, command
from tests.gateway.rig import PREFIX, TOKEN
from tests.servers import serving

SHUTDOWN = "the turn was interrupted by a shutdown; send a message to go on"
ENDING = "SIGTERM: no new requests, running ones may end"


@dataclass(slots=True)
class Telling:
    """A gateway whose model has said "Once upon a " and waits for the gate before its last word."""

    process: Process
    client: httpx.AsyncClient
    chat_id: str
    folder: Path
    gate: asyncio.Event

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async with self.client.stream("GET", f"/chats/{self.chat_id}/stream") as answer:
            yield _events(answer)

    async def end(self) -> None:
        self.process.signal(signal.SIGTERM)
        await self.process.logged(ENDING)

    def kept(self) -> tuple[str, str, str]:
        """Status, error and last words of the chat in the database; ask when the process has ended."""
        database = sqlite3.connect(f"file:{self.folder / 'gateway.db'}?mode=ro", uri=True)
        try:
            ((status, error),) = database.execute("SELECT status, error FROM chats").fetchall()
            *_, (parts,) = database.execute("SELECT parts FROM chat_messages ORDER BY position").fetchall()
        finally:
            database.close()
        return status, error, "".join(part["text"] for part in json.loads(parts) if part["type"] == "text")


async def _events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def telling(folder: Path, *, grace: str) -> AsyncIterator[Telling]:
    gate = asyncio.Event()
    async with serving(chatty(interrupted_by(gate, "Once upon a time"))) as provider_url:
        settings = environment(provider_url) | {
            "AI_GATEWAY_DATABASE_URL": f"sqlite:///{folder / 'gateway.db'}",
            "AI_GATEWAY_CHAT_ENABLED": "true",
            "AI_GATEWAY_SHUTDOWN_GRACE": grace,
        }
        async with command("serve", "--port", "0", folder=folder, environment=settings) as process:
            port = (await process.logged(r"listening on http://127\.0\.0\.1:(\d+)"))[1]
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}{PREFIX}",
                headers={"authorization": f"Bearer {TOKEN}"},
                timeout=PATIENCE_S,
            ) as client:
                begun = await client.post("/chats", json={"message": "Tell me a story", "model": MODEL})
                running = Telling(process, client, begun.json()["id"], folder, gate)
                async with running.events() as events:
                    said = ""
                    while said != "Once upon a ":
                        event = await anext(events)
                        said += event["text"] if event["type"] == "delta" else ""
                yield running


async def test_who_listens_hears_that_a_turn_is_interrupted_before_they_are_cut_off(tmp_path: Path) -> None:
    """The stream ends as it should, behind the chat's status; what was said is kept."""
    async with telling(tmp_path, grace="2s") as running:
        async with running.events() as events:
            await running.end()
            heard = [event async for event in events]
        assert await running.process.ended() == 0
    assert heard[-1] == {"type": "status", "status": "error", "error": SHUTDOWN}
    assert running.kept() == ("error", SHUTDOWN, "Once upon a ")


async def test_a_turn_that_nobody_listens_to_may_end_all_the_same(tmp_path: Path) -> None:
    """There is no connection to wait for, and the process ends with the turn."""
    async with telling(tmp_path, grace="1h") as running:
        await running.end()
        running.gate.set()
        assert await running.process.ended() == 0
    assert running.kept() == ("waiting", "", "Once upon a time")
