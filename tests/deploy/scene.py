"""A gateway with two workers that has good and bad days, and a Prometheus that watches it; all on loopback.

Its providers are in the process of the test: one that answers, one that always fails, one that throttles its two
keys, one whose model calls a tool, one that holds its answer until it is told to go on. So whatever the gateway
counts has been there once. Prometheus runs with the project's own configuration and alerts; only the address and how
often it asks are the scene's.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from gateway.demo_provider import MODEL, create_demo_provider
from tests.bench.process import CORES, Process
from tests.bench.targets import free_port
from tests.deploy.files import ALERTS, JOB, PROMETHEUS
from tests.servers import serving

SCRAPE_S: Final = 1
PATIENCE_S: Final = 60.0
AGENT: Final = {"user-agent": "claude-cli/2.0 (external, cli)", "anthropic-version": "2023-06-01"}
SDK: Final = {"user-agent": "OpenAI/Python 3.0.0"}

QUESTION: Final = {"model": MODEL, "messages": [{"role": "user", "content": "What is a gateway?"}]}
PROMPT: Final = {**QUESTION, "max_tokens": 100, "stream": True}


def provider(go_on: asyncio.Event) -> Starlette:
    """What stands behind the five instances."""

    async def failing(request: Request) -> Response:
        return JSONResponse({"error": {"message": "overloaded"}}, status_code=503)

    async def throttling(request: Request) -> Response:
        return JSONResponse(
            {"error": {"message": "slow down"}}, status_code=429, headers={"retry-after": "5"}
        )

    async def calling_a_tool(request: Request) -> Response:
        call = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
        return JSONResponse(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": MODEL,
                "choices": [choice],
                "usage": usage,
            }
        )

    async def hesitating(request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b": thinking\n\n"
            await go_on.wait()
            yield b"data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/failing/chat/completions", failing, methods=["POST"]),
            Route("/throttling/chat/completions", throttling, methods=["POST"]),
            Route("/tools/chat/completions", calling_a_tool, methods=["POST"]),
            Route("/hesitating/chat/completions", hesitating, methods=["POST"]),
            Mount("/", create_demo_provider()),
        ]
    )


@dataclass
class Scene:
    """What is running, to send requests to and to ask."""

    gateway: httpx.AsyncClient
    prometheus: Process
    prometheus_url: str
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> int:
        method = "GET" if body is None else "POST"
        answer = await self.gateway.request(method, path, json=body, headers=headers)
        return answer.status_code

    async def a_day(self) -> None:
        """One of everything, the troubles included."""
        await self.ask("anthropic/v1/messages", PROMPT, AGENT)
        await self.ask("openai/v1/chat/completions", QUESTION, SDK)
        await self.ask("openai/v1/chat/completions", {**QUESTION, "stream": True}, SDK)
        await self.ask("tools/v1/chat/completions", QUESTION, SDK)
        await self.ask("openai/v1/models", None, SDK)
        await self.ask("openai/v1/files", None, SDK)  # refused: no such route
        for _ in range(6):  # enough for the circuit of whichever worker answers
            await self.ask("failing/v1/chat/completions", QUESTION, SDK)
        await self.ask("throttling/v1/chat/completions", QUESTION, SDK)

    @asynccontextmanager
    async def a_long_answer(self) -> AsyncIterator[None]:
        """While it is entered, one request is under way."""
        body = {**QUESTION, "stream": True}
        async with self.gateway.stream(
            "POST", "hesitating/v1/chat/completions", json=body, headers=SDK
        ) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            yield
            self.go_on.set()
            async for _ in lines:
                pass

    async def scraped(self, times: int = 1) -> None:
        """Return when Prometheus has asked the gateway so many times more, and got an answer to the last."""
        begin_s = time.time() + (times - 1) * SCRAPE_S
        await self.shown(f'timestamp(up{{job="{JOB}"}} == 1) > {begin_s}')

    async def shown(self, expression: str) -> None:
        """Return when Prometheus finds something for an expression. Workers tell some things every few seconds."""

        def found() -> bool:
            try:
                return bool(self.query(expression))
            except httpx.TransportError:
                return False  # it has just been started

        await asyncio.to_thread(self.prometheus.wait_until, found, timeout_s=PATIENCE_S)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now. Raises `httpx.HTTPStatusError` on one that Prometheus refuses."""
        found: list[dict[str, Any]] = self.api("query", query=expression)["result"]
        return found

    def query_range(self, expression: str, seconds: float, step_s: float) -> list[dict[str, Any]]:
        """The series of an expression over the last `seconds`, at whole seconds: those of several fit together."""
        now = int(time.time())
        found: list[dict[str, Any]] = self.api(
            "query_range", query=expression, start=now - seconds, end=now, step=step_s
        )["result"]
        return found

    def api(self, name: str, **parameters: str | float) -> dict[str, Any]:
        answer = httpx.get(f"{self.prometheus_url}/api/v1/{name}", params=parameters)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data


@asynccontextmanager
async def watched_gateway(prometheus: Path, folder: Path) -> AsyncIterator[Scene]:
    """Everything started and Prometheus' first question answered; all of it ends with the block."""
    go_on = asyncio.Event()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(serving(provider(go_on)))
        port, metrics_port, prometheus_port = free_port(), free_port(), free_port()
        config = folder / "settings.yaml"
        config.write_text(yaml.safe_dump(settings(folder, upstream, port, metrics_port)))
        token = await make_token(config)
        gateway = Process(command("serve", config), cores=set(CORES), log=folder / "gateway.log")
        stack.callback(gateway.stop)
        watching = start_prometheus(prometheus, folder, prometheus_port, metrics_port)
        stack.callback(watching.stop)
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"authorization": f"Bearer {token}"},
                timeout=PATIENCE_S,
            )
        )
        scene = Scene(client, watching, f"http://127.0.0.1:{prometheus_port}", go_on)
        await scene.scraped()
        yield scene


def settings(folder: Path, upstream: str, port: int, metrics_port: int) -> dict[str, Any]:
    instances = {name: {"type": "openai", "name": name} for name in ("failing", "tools", "hesitating")}
    return {
        "port": port,
        "workers": 2,
        "metrics_address": f"127.0.0.1:{metrics_port}",
        "ai_gateway": {
            "database_url": f"sqlite:///{folder}/gateway.db",
            "journal_dir": str(folder / "journal"),
            "circuit_breaker_enabled": True,
            "circuit_breaker_failure_threshold": 2,
            "max_retries": 0,
            "shutdown_grace": "2s",
            "providers": [
                {"type": "anthropic", "base_url": f"{upstream}/anthropic"},
                {"type": "openai", "base_url": f"{upstream}/openai"},
                {
                    "type": "openai",
                    "name": "throttling",
                    "base_url": f"{upstream}/throttling",
                    "keys": ["fake-key-1", "fake-key-2"],
                },
                *({**one, "base_url": f"{upstream}/{name}"} for name, one in instances.items()),
            ],
        },
    }


def command(*words: str | Path) -> list[str]:
    """A command of the gateway, with its settings last."""
    *start, config = words
    return [sys.executable, "-m", "gateway", *map(str, start), "--config", str(config)]


async def make_token(config: Path) -> str:
    token = ""
    for words in (("users", "create", "alice"), ("keys", "create", "--user", "alice")):
        made = await asyncio.create_subprocess_exec(*command(*words, config), stdout=asyncio.subprocess.PIPE)
        token = (await made.communicate())[0].decode().strip()
    return token


def start_prometheus(binary: Path, folder: Path, port: int, metrics_port: int) -> Process:
    config = yaml.safe_load(PROMETHEUS.read_text())
    config["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    config["rule_files"] = [str(ALERTS)]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs[JOB]["static_configs"] = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    config["scrape_configs"] = [jobs[JOB]]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    arguments = [
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    return Process([str(binary), *arguments], cores=set(CORES), log=folder / "prometheus.log")
