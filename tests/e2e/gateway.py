"""The gateway as an operator runs it: its own command in a process of its own, SQLite in a folder of its own.

Users and keys are always made by the command. `serving_gateway` runs `ai-gateway serve`; `hosting_gateway` has the
same application run by uvicorn, a server that the gateway doesn't know.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.app import create_app
from gateway.settings import load
from tests.e2e.install import CHECKOUT
from tests.middleware.bedrock import ACCESS_KEY, REGION, SECRETS
from tests.servers import serving

COMMAND_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
CENTRAL_KEYS = {"anthropic": "fake-central-key-of-anthropic", "openai": "fake-central-key-of-openai"}

_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


@dataclass(slots=True)
class Gateway:
    """A gateway with an instance of each type, and one on Amazon Bedrock; all of them are the scripted provider.

    `log` is what it wrote.
    """

    folder: Path
    upstream_url: str
    port: int = 0
    log: list[str] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.folder / "gateway.db"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "AI_GATEWAY_DATABASE_URL": f"sqlite:///{self.database}",
            "AI_GATEWAY_JOURNAL_DIR": str(self.folder / "journal"),
            "AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
            "AI_GATEWAY_PROVIDER_0_NAME": "claude",
            "AI_GATEWAY_PROVIDER_0_BASE_URL": f"{self.upstream_url}/anthropic",
            "AI_GATEWAY_PROVIDER_0_KEY": CENTRAL_KEYS["anthropic"],
            "AI_GATEWAY_PROVIDER_1_TYPE": "openai",
            "AI_GATEWAY_PROVIDER_1_NAME": "gpt",
            "AI_GATEWAY_PROVIDER_1_BASE_URL": f"{self.upstream_url}/openai/v1",
            "AI_GATEWAY_PROVIDER_1_KEY": CENTRAL_KEYS["openai"],
            "AI_GATEWAY_PROVIDER_2_TYPE": "anthropic",
            "AI_GATEWAY_PROVIDER_2_NAME": "bedrock",
            "AI_GATEWAY_PROVIDER_2_BEDROCK_BASE_URL": f"{self.upstream_url}/bedrock",
            "AI_GATEWAY_PROVIDER_2_BEDROCK_REGION": REGION,
            "AI_GATEWAY_PROVIDER_2_BEDROCK_ACCESS_KEY": ACCESS_KEY,
            "AI_GATEWAY_PROVIDER_2_BEDROCK_ACCESS_KEY_SECRET": SECRETS[ACCESS_KEY],
            "AI_GATEWAY_MAX_RETRIES": "0",  # the clients retry themselves
            "AI_GATEWAY_STRUCTURED_LOGGING": "true",
        }

    async def command(self, *arguments: str) -> str:
        """Run `ai-gateway ...` to its end; what it printed. `AssertionError` when it failed."""
        process = await self.start(*arguments, stdout=asyncio.subprocess.PIPE)
        stdout, stderr = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
        if process.returncode != 0:
            raise AssertionError(f"ai-gateway {' '.join(arguments)} failed: {stderr.decode()}")
        return stdout.decode().strip()

    async def new_token(self, user: str) -> str:
        """A key of a new user, made as an operator makes one."""
        await self.command("users", "create", user)
        return await self.command("keys", "create", "--user", user)

    async def start(self, *arguments: str, stdout: int | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            *arguments,
            cwd=CHECKOUT,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )


@asynccontextmanager
async def serving_gateway(gateway: Gateway) -> AsyncIterator[None]:
    """`ai-gateway serve` until the block ends; then SIGTERM, and it must end by itself, with status 0."""
    process = await gateway.start("serve", "--port", "0")
    listening = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read_log(process, gateway, listening))
    try:
        gateway.port = await asyncio.wait_for(listening, COMMAND_TIMEOUT_S)
        yield
        process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        await reading
        assert status == 0, "\n".join(gateway.log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()


@asynccontextmanager
async def hosting_gateway(gateway: Gateway) -> AsyncIterator[None]:
    """The application, with the same settings, under uvicorn in this process."""
    app = create_app(load(environ=gateway.environment))
    async with serving(app, "uvicorn") as base_url:
        gateway.port = int(base_url.rpartition(":")[2])
        yield


async def _read_log(
    process: asyncio.subprocess.Process, gateway: Gateway, listening: asyncio.Future[int]
) -> None:
    """Keep the log, and tell the port as soon as it is named in it."""
    assert process.stderr is not None
    async for line in process.stderr:
        gateway.log.append(line.decode().rstrip())
        named = _LISTENING.search(gateway.log[-1])
        if named and not listening.done():
            listening.set_result(int(named[1]))
    if not listening.done():
        listening.set_exception(AssertionError("the gateway did not start:\n" + "\n".join(gateway.log)))
