"""The blocks of the documents that can be run anywhere are run, as a reader would paste them.

A shell in a folder of its own, with `ai-gateway` on its path. Paths of a deployment (`/run/secrets`) are replaced by
that folder; nothing else of a block is changed. The provider is the demo's own; nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.documents.markdown import ROOT, Page
from tests.gateway.command import PATIENCE_S, Process, clean_environment, command

GUIDE = Page(ROOT / "deploy" / "docs" / "operators-guide.md")
BYOK = Page(ROOT / "deploy" / "docs" / "byok.md")
CHATS = Page(ROOT / "deploy" / "docs" / "chat-routing.md")
RETENTION = Page(ROOT / "deploy" / "docs" / "retention.md")

DEMO = ("demo", "--port", "0", "--ai-gateway-chat-enabled", "--ai-gateway-chat-model", "anthropic/demo")
FIRST_CALL = """
curl "$GATEWAY/openai/v1/chat/completions" -H "Authorization: Bearer $TOKEN" -H 'content-type: application/json' \
  -d '{"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}'
"""

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="pastes lines for curl")
needs_sqlite = pytest.mark.skipif(shutil.which("sqlite3") is None, reason="pastes lines for sqlite3")


class Shell:
    """Runs blocks in `folder`; one that fails fails the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = clean_environment()
        self._programs = folder / "programs"
        self._programs.mkdir()
        self._add("ai-gateway", f'exec {sys.executable} -m gateway "$@"')
        if curl := shutil.which("curl"):
            self._add("curl", f'exec {curl} --silent --show-error --fail-with-body --max-time 20 "$@"')

    def _add(self, name: str, line: str) -> None:
        program = self._programs / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o700)

    async def run(self, block: str, **variables: str) -> str:
        """What it wrote to standard output."""
        block = block.replace("/run/secrets", str(self.folder)).replace(".venv/bin/ai-gateway", "ai-gateway")
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-e", "-c", block),
            cwd=self.folder,
            env=self._environment(variables),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(3 * PATIENCE_S):
            output, errors = await process.communicate()
        assert process.returncode == 0, f"{block}\n{output.decode()}{errors.decode()}"
        return output.decode()

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        path = f"{self._programs}{os.pathsep}{self.environment['PATH']}"
        return {**self.environment, **variables, "PATH": path}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


async def test_the_guides_settings_are_shown(shell: Shell) -> None:
    """With the origin of each value, and without a secret."""
    for name, text in (
        ("database-url", "postgresql://gateway:fake-password@127.0.0.1/gateway"),
        ("openai-key", "sk-fake-of-openai"),
        ("anthropic-keys", "sk-fake-one-of-two\nsk-fake-two-of-two"),
    ):
        (shell.folder / name).write_text(text)
    settings = GUIDE.block("host: 127.0.0.1").replace("/run/secrets", str(shell.folder))
    (shell.folder / "settings.yaml").write_text(settings)
    shown = await shell.run(GUIDE.block("ai-gateway config show"))
    assert "retention: 90d  # settings.yaml" in shown
    assert "fake-password" not in shown
    assert "sk-fake-one-of-two" not in shown


async def test_users_keys_and_their_rotation(shell: Shell) -> None:
    """The guide's first users, then a second key beside the first, which is revoked."""
    shown = await shell.run(GUIDE.block("ai-gateway users create alice"))
    token = re.search(r"^(\w{10})-\w+$", shown, re.MULTILINE)
    assert token is not None
    rotation = GUIDE.block("ai-gateway keys create").replace("Ab3dEf6hIj", token[1])
    await shell.run(rotation)
    listed = await shell.run("ai-gateway keys list")
    assert sorted(line.split()[2] for line in listed.splitlines()[1:]) == ["good", "revoked"]


async def test_a_users_own_provider_key_is_stored_listed_rotated_and_deleted(shell: Shell) -> None:
    """The commands of the page, with an encryption key that they made, which is then replaced."""
    (shell.folder / "key.txt").write_text("sk-fake-own-key-of-alice")
    provider = {"AI_GATEWAY_PROVIDER_0_TYPE": "anthropic"}
    await shell.run("ai-gateway users create alice")
    making = BYOK.block("(umask 077;")
    commands = [line for line in BYOK.block("curl -X PUT").splitlines() if line.startswith("ai-gateway")]
    await shell.run("\n".join([making, commands[0], commands[1]]), **provider)

    keys = shell.folder / "user-keys"
    environment = {**provider, "AI_GATEWAY_USER_KEY_ENCRYPTION_KEYS_FILE": str(keys)}
    (adding,) = [piece for piece in GUIDE.inline if piece.endswith(">> /run/secrets/user-keys")]
    await shell.run(adding, **environment)
    old, new = keys.read_text().split()
    keys.write_text(f"{new}\n{old}\n")
    await shell.run("ai-gateway provider-keys rotate", **environment)
    keys.write_text(new)
    assert "good" in await shell.run(commands[1], **environment)
    await shell.run(commands[2], **environment)


async def test_a_database_that_is_too_new_is_refused_in_the_words_of_the_guide(shell: Shell) -> None:
    """Versions aside, which each migration moves."""
    await shell.run("ai-gateway users create alice")
    with closing(sqlite3.connect(shell.folder / "data" / "ai-gateway.db")) as database, database:
        database.execute("UPDATE schema_migrations SET version = 9999 WHERE version = 1")
    async with command("serve", "--port", "0", folder=shell.folder) as process:
        assert await process.ended() == 1
    words = re.sub(r"\d+", "0", GUIDE.block("ai-gateway: data/ai-gateway.db has schema version"))
    assert words in [re.sub(r"\d+", "0", line) for line in process.log]


async def test_nothing_is_begun_beside_the_log_of_a_database_that_was_moved_away(shell: Shell) -> None:
    """In the words of the guide; where it is back, it goes on."""
    await shell.run("ai-gateway users create alice")
    path = shell.folder / "data" / "ai-gateway.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE users SET name = name")  # who has it open keeps its log
        path.rename(shell.folder / "parked.db")
        async with command("users", "list", folder=shell.folder) as process:
            assert await process.ended() == 1
        assert GUIDE.block("ai-gateway: data/ai-gateway.db: the file isn't there") in process.log
        assert not path.exists()
        (shell.folder / "parked.db").rename(path)
    assert "alice" in await shell.run("ai-gateway users list")


@needs_curl
@needs_sqlite
async def test_a_gateway_is_called_read_out_backed_up_and_purged(shell: Shell) -> None:
    """The demo answers every line for curl; then the command line, SQLite and the backup tell the same."""
    async with command(*DEMO, folder=shell.folder) as process:
        variables = await _address(process)
        await shell.run(FIRST_CALL, **variables)
        assert "Hello" in await shell.run(
            BYOK.block('curl "$GATEWAY/anthropic'), **variables, OWN_KEY="sk-fake-own"
        )
        assert "event: message_stop" in await shell.run(GUIDE.block("curl -N"), **variables)
        beginning, _, _ = CHATS.block('curl -X POST "$GATEWAY/chats"').partition("curl -N")
        assert '"id":' in await shell.run(beginning, **variables)
        answers = await shell.run(GUIDE.block('curl "$GATEWAY/sessions'), **variables)
        assert '"suspended"' in answers
        await shell.run(_health(variables))
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert "demo" in await shell.run("ai-gateway sessions --limit 5")
    await shell.run(GUIDE.block("sqlite3 data"))
    assert "demo" in await shell.run(GUIDE.block("ai-gateway sessions --ai-gateway-database-url"))
    (check,) = [piece for piece in GUIDE.inline if piece.startswith("sqlite3 backup.db")]
    assert await shell.run(check) == "ok\n"
    await shell.run(RETENTION.block("ai-gateway purge --dry-run"))
    await shell.run(RETENTION.block("sqlite3 data"))
    await shell.run(GUIDE.block("df -h data\ndu"))
    for block in GUIDE.blocks:
        if block.language == "sql":
            (shell.folder / "query.sql").write_text(block.text)
            await shell.run("sqlite3 data/ai-gateway.db < query.sql")


async def _address(process: Process) -> dict[str, str]:
    """Where the demo listens, and its token, under the names that the documents use."""
    token = (await process.printed(r"export GATEWAY_TOKEN=(\S+)"))[1]
    gateway = (await process.printed(r"curl (http://\S+)/openai/v1/"))[1]
    await process.logged("listening on")
    return {"GATEWAY": gateway, "TOKEN": token}


def _health(variables: Mapping[str, str]) -> str:
    root = variables["GATEWAY"].partition("/api/")[0]
    return f"ai-gateway health --url {root}/readyz"
