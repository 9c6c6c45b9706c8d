"""`ai-gateway demo`: what it prints can be pasted, works at once, and leaves records."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.demo_provider import create_demo_provider
from providers.options import ProviderOptions
from tests.gateway import sdk_clients
from tests.gateway.command import PATIENCE_S, Process, clean_environment, command
from tests.gateway.rig import Rig, WatchedStore, gateway_settings
from tests.servers import serving
from tests.upstream import Upstream

APIS = {"messages": sdk_clients.messages, "chat": sdk_clients.chat, "responses": sdk_clients.responses}


@pytest.mark.skipif(shutil.which("curl") is None, reason="pastes the line for curl")
async def test_the_printed_lines_work_when_they_are_pasted(tmp_path: Path) -> None:
    """Only the token's line and curl's: an answer comes, and the question is in the database when it has ended."""
    async with command("demo", "--port", "0", folder=tmp_path) as process:
        base = (await process.printed(r"curl (http://127\.0\.0\.1:\d+)/"))[1]
        await process.logged(f"listening on {base}")
        answer = await _paste("\n".join(_lines_from(process, "curl ")), tmp_path)
        assert "You asked: Hello" in answer
        process.signal(signal.SIGINT)
        assert await process.ended() == 0
    assert _prompts(tmp_path / "data" / "ai-gateway.db") == ["Hello"]


async def test_the_printed_line_for_a_chat_works_while_the_demo_runs(tmp_path: Path) -> None:
    """On the same database, with the provider in the box, which the settings don't know; and it may be a guest only."""
    async with command("demo", "--port", "0", folder=tmp_path) as process:
        await process.logged("listening on")
        export, *chat = _lines_from(process, "AI_GATEWAY_PROVIDER_0_TYPE=")
        line = "\n".join([export, *chat]).replace("ai-gateway chat", f"{sys.executable} -m gateway chat")
        answer = await _paste(f"{line} --once 'Good day'", tmp_path)
        assert "You asked: Good day" in answer
        process.signal(signal.SIGINT)
        assert await process.ended() == 0
    assert _prompts(tmp_path / "data" / "ai-gateway.db") == ["Good day"]
    with closing(sqlite3.connect(tmp_path / "data" / "ai-gateway.db")) as database:
        assert database.execute("SELECT count(*) FROM ai_providers WHERE enabled").fetchone() == (2,)


async def test_the_demo_shows_how_claude_code_and_codex_are_pointed_at_it(tmp_path: Path) -> None:
    """Each line names the address that it listens on; a second run makes a second key for the same user."""
    for _ in range(2):
        async with command("demo", "--port", "0", folder=tmp_path) as process:
            base = (await process.printed(r"curl (http://127\.0\.0\.1:\d+)/"))[1]
            claude = await process.printed(r"ANTHROPIC_BASE_URL=(\S+) ANTHROPIC_AUTH_TOKEN=\$GATEWAY_TOKEN")
            codex = await process.printed(r'base_url="(\S+)", env_key="GATEWAY_TOKEN", wire_api="responses"')
            await process.logged(f"listening on {base}")
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
        assert claude[1].endswith("/api/v2/ai-gateway/anthropic")
        assert codex[1].endswith("/api/v2/ai-gateway/openai/v1")
        assert claude[1].startswith(base)
        assert codex[1].startswith(base)


async def test_with_the_vendors_keys_in_the_environment_their_providers_are_used(tmp_path: Path) -> None:
    """The key is used and not shown; nothing is sent anywhere before somebody asks."""
    environment = {"OPENAI_API_KEY": "sk-fake-of-the-environment"}
    async with command("demo", "--port", "0", folder=tmp_path, environment=environment) as process:
        await process.printed("your own providers")
        await process.printed(r"curl http://\S+/api/v2/ai-gateway/openai/v1/chat/completions")
        await process.logged("listening on")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert not any("claude" in line or "sk-fake" in line for line in [*process.out, *process.log])


def _lines_from(process: Process, start: str) -> list[str]:
    """What a person would copy: the export, and a command up to the line that doesn't go on."""
    lines = [line.strip() for line in process.out]
    export = next(line for line in lines if line.startswith("export "))
    first = next(index for index, line in enumerate(lines) if line.startswith(start))
    last = next(index for index in range(first, len(lines)) if not lines[index].endswith("\\"))
    return [export, *lines[first : last + 1]]


async def _paste(lines: str, folder: Path) -> str:
    shell = await asyncio.create_subprocess_exec(
        "sh", "-ec", lines, cwd=folder, env=clean_environment(), stdout=-1, stderr=-1
    )
    async with asyncio.timeout(PATIENCE_S):
        out, errors = await shell.communicate()
    assert shell.returncode == 0, errors.decode()
    return out.decode()


def _prompts(path: Path) -> list[Any]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [prompt for (prompt,) in database.execute("SELECT prompt FROM aibridge_user_prompts")]
    finally:
        database.close()


# -- the provider in the box ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("connect", APIS.values(), ids=APIS)
async def test_the_provider_in_the_box_speaks_with_each_sdk(connect: sdk_clients.Connect) -> None:
    """Blocking and streamed, in the vendors' formats, well enough for their SDKs and for our readers."""
    async with serving(create_demo_provider()) as url:
        store = WatchedStore()
        boxed = (
            ProviderOptions(type="openai", name="openai", base_url=f"{url}/openai"),
            ProviderOptions(type="anthropic", name="anthropic", base_url=f"{url}/anthropic"),
        )
        app = create_app(gateway_settings(providers=boxed), store=store)
        async with app.lifespan():
            rig = Rig(app, Upstream(), store, "http://gateway.test")
            async with connect(rig, "in process", byok=False) as sdk:
                whole = await sdk.ask("How are you?")
                streamed = "".join([piece async for piece in sdk.stream("How are you?")])
    assert whole == streamed.strip() == "Hello from the provider in the box. You asked: How are you?"
    assert [end.outcome for end in store.ends] == ["completed", "completed"]
    assert [end.error_type for end in store.ends] == [None, None]
    assert [prompt.prompt for prompt in store.prompts] == ["How are you?"] * 2
    assert len(store.token_usages) == 2
    assert all(usage.output_tokens > 0 for usage in store.token_usages)
