"""The scene of a fault: a provider that answers by script, and the real gateway as a process before it.

The gateway can be started, killed and started again on the same folder; its records go to SQLite there, and from the
first start on other programs use that file too. The provider stays, in this process, so that a scenario sees when a
connection to it is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.faults.apis import Api
from tests.faults.visitors import Visits, visiting
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
        self.workers = 1
        self._running = AsyncExitStack()
        self._visitors = AsyncExitStack()
        self.visits: Visits | None = None
        """Of the programs that come and go; what they did is known at the end."""
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
        if self.visits is None and "postgresql" not in self._section()["database_url"]:
            self.visits = await self._visitors.enter_async_context(visiting(self.database))

    async def no_more_visits(self) -> Visits:
        """What the other programs did, which come no more."""
        assert self.visits is not None
        await self._visitors.aclose()
        return self.visits

    async def launch(self, **changes: Any) -> None:
        """Start the gateway; it may refuse to run."""
        await self._running.aclose()
        path = self.folder / "settings.yaml"
        path.write_text(json.dumps({"ai_gateway": self._section() | changes}), "utf-8")
        arguments = ("serve", "--config", str(path), "--port", "0", "--workers", str(self.workers))
        environment = {"CODER_AI_GATEWAY_STATIC_TOKEN": TOKEN}
        self.process = await self._running.enter_async_context(
            command(*arguments, folder=self.folder, environment=environment)
        )

    async def kill(self) -> None:
        """`kill -9`, at once, of the workers too where there are several."""
        assert self.process is not None
        workers = self._worker_pids()
        self.process.signal(signal.SIGKILL)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        await self.process.ended()

    def kill_worker(self) -> None:
        """`kill -9` of one of several."""
        os.kill(self._worker_pids()[0], signal.SIGKILL)

    def _worker_pids(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def is_ready(self) -> bool:
        return (await self.client.get("/readyz")).status_code == 200

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.signal(signal.SIGTERM)
        return await self.process.ended()

    async def close(self) -> None:
        await self.client.aclose()
        await self._visitors.aclose()
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
