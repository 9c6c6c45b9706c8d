"""The scene of a fault: a provider that answers by script, and the real gateway as a process before it.

The gateway can be started, killed and started again on the same folder; its records go to SQLite there. The provider
stays, in this process, so that a scenario sees when a connection to it is closed.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.faults.apis import Api
from tests.gateway.command import Process, command
from tests.servers import serving
from tests.upstream import Received, Reply, Upstream

TOKEN = "fakegateid-fakegatewaytokenfakegatewaytoken"
HEADERS = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}


class Scene:
    """One folder, one provider, one gateway at a time."""

    def __init__(
        self, folder: Path, upstream: Upstream, upstream_url: str, settings: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self.database = folder / "gateway.db"
        self.upstream = upstream
        self._upstream_url = upstream_url
        self.settings = dict(settings)
        self._running = AsyncExitStack()
        self.process: Process | None = None
        self.client = httpx.AsyncClient(timeout=60.0, limits=httpx.Limits(max_connections=None))

    @property
    def journal(self) -> Path:
        return Path(self.settings.get("journal_dir", self.folder / "journal"))

    @property
    def upstream_port(self) -> int:
        return httpx.URL(self._upstream_url).port or 80

    @property
    def log(self) -> str:
        """What the running gateway, or the last one, has written."""
        assert self.process is not None
        return "\n".join(self.process.log)

    async def start(self, **changes: Any) -> None:
        """Start the gateway and wait until it listens."""
        await self.launch(**changes)
        assert self.process is not None
        try:
            port = (await self.process.logged(r"listening on http://127\.0\.0\.1:(\d+)"))[1]
        except AssertionError as error:
            raise AssertionError(f"the gateway did not start: {self.process.log[-20:]}") from error
        self.client.base_url = httpx.URL(f"http://127.0.0.1:{port}/api/v2/ai-gateway")

    async def launch(self, **changes: Any) -> None:
        """Start the gateway; it may refuse to run."""
        await self._running.aclose()
        path = self.folder / "settings.yaml"
        path.write_text(json.dumps({"ai_gateway": self._section() | changes}), "utf-8")
        arguments = ("serve", "--config", str(path), "--port", "0")
        environment = {"CODER_AI_GATEWAY_STATIC_TOKEN": TOKEN}
        self.process = await self._running.enter_async_context(
            command(*arguments, folder=self.folder, environment=environment)
        )

    async def kill(self) -> None:
        """`kill -9`, at once."""
        assert self.process is not None
        self.process.signal(signal.SIGKILL)
        await self.process.ended()

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.signal(signal.SIGTERM)
        return await self.process.ended()

    async def close(self) -> None:
        await self.client.aclose()
        await self._running.aclose()

    async def ask(self, api: Api, number: int, *, padding: int = 0) -> int:
        """The status of a whole answer. Raises `httpx.HTTPError` when it broke off."""
        body = api.body(number, padding=padding)
        answer = await self.client.post(api.path, content=body, headers=HEADERS)
        return answer.status_code

    @asynccontextmanager
    async def stream(self, api: Api, number: int) -> AsyncIterator[httpx.Response]:
        """An answer under way, its headers read."""
        async with self.client.stream("POST", api.path, content=api.body(number), headers=HEADERS) as answer:
            yield answer

    def _section(self) -> dict[str, Any]:
        return {
            "auth": "static",
            "database_url": f"sqlite:///{self.database}",
            "journal_dir": str(self.folder / "journal"),
            "providers": [
                {"type": "anthropic", "base_url": self._upstream_url, "key": "sk-fake-central"},
                {"type": "openai", "base_url": f"{self._upstream_url}/v1", "key": "sk-fake-central"},
            ],
        } | self.settings


@asynccontextmanager
async def scene(folder: Path, answer: Callable[[Received], Reply], **settings: Any) -> AsyncIterator[Scene]:
    """A folder, which is made, and a provider that answers so; the gateway is yet to be started."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    upstream = Upstream(answer)
    async with serving(upstream) as upstream_url:
        one = Scene(folder, upstream, upstream_url, settings)
        try:
            yield one
        finally:
            await one.close()
