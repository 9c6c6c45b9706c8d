"""`ai-gateway serve` as a real process: how it starts, refuses to start, serves, and ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.server import ListenError, listen
from tests.answers import anthropic
from tests.answers.turn import Turn
from tests.gateway.command import PATIENCE_S, Process, command
from tests.gateway.rig import PREFIX, TOKEN
from tests.servers import serving
from tests.upstream import Reply, Upstream

AUTHORIZATION = {"authorization": f"Bearer {TOKEN}"}
STREAM = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
EVENTS = anthropic.events(Turn(text="Hello there"))
SSE = [(b"content-type", b"text/event-stream")]
PROCESS_OPTIONS = ("workers", "reload_on_change", "log_json", "log_level")


@dataclass(slots=True)
class Serving:
    """A gateway process in front of a scripted provider, and the folder it keeps its records in."""

    process: Process
    upstream: Upstream
    url: str
    folder: Path

    def interceptions(self) -> list[tuple[Any, ...]]:
        """What is in the database; ask when the process has ended."""
        database = sqlite3.connect(f"file:{self.folder / 'gateway.db'}?mode=ro", uri=True)
        try:
            return database.execute("SELECT outcome, status FROM aibridge_interceptions").fetchall()
        finally:
            database.close()

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """A streamed request under way, its first event read."""
        async with (
            httpx.AsyncClient(timeout=None) as client,
            client.stream("POST", f"{self.url}/v1/messages", content=STREAM, headers=AUTHORIZATION) as answer,
        ):
            arriving = answer.aiter_raw()
            assert await anext(arriving) == EVENTS[0]
            yield arriving


@asynccontextmanager
async def gateway(folder: Path, *replies: Reply, **settings: Any) -> AsyncIterator[Serving]:
    """Settings by file, port by flag, a secret by the environment."""
    upstream = Upstream(replies)
    async with serving(upstream) as provider_url:
        path = folder / "settings.yaml"
        path.write_text(json.dumps(_document(folder, provider_url, settings)), "utf-8")
        arguments = ("serve", "--config", str(path), "--port", "0")
        environment = {"CODER_AI_GATEWAY_STATIC_TOKEN": TOKEN}
        async with command(*arguments, folder=folder, environment=environment) as process:
            port = (await process.logged(r"listening on http://127\.0\.0\.1:(\d+)"))[1]
            yield Serving(process, upstream, f"http://127.0.0.1:{port}{PREFIX}/anthropic", folder)


def _document(folder: Path, provider_url: str, settings: dict[str, Any]) -> dict[str, Any]:
    section = {
        "auth": "static",
        "database_url": f"sqlite:///{folder / 'gateway.db'}",
        "providers": [{"type": "anthropic", "base_url": provider_url, "key": "sk-fake-central"}],
    }
    process: dict[str, Any] = {name: settings.pop(name) for name in PROCESS_OPTIONS if name in settings}
    return {**process, "ai_gateway": section | settings}


# -- it does not start ----------------------------------------------------------------------------------------------


async def _refusal(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and the one line on standard error."""
    async with command("serve", *arguments, folder=folder, environment=environment) as process:
        status = await process.ended()
    (line,) = process.log
    assert process.out == []
    return status, line


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_that_is_taken_is_one_clear_sentence(tmp_path: Path, workers: str) -> None:
    """Not a traceback, and not a process that goes on without a port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, line = await _refusal(tmp_path, "--port", str(port), "--workers", workers)
    assert (status, line) == (
        1,
        f"ai-gateway: can't listen on 127.0.0.1:{port}: Address already in use. "
        "Choose another with --host and --port.",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ai-gateway-retention", "soon"], "must be a duration"),
        (["--ai-gateway-dump-dir", __file__], "is not a directory"),
        (["--ai-gateway-dump-dir", __file__, "--workers", "2"], "is not a directory"),
        (["--ai-gateway-database-url", "mysql://u:fakepassword@h/d"], "database"),
        (["--reload-on-change"], "there is no file to look at: give one with --config"),
    ],
    ids=["a setting", "a part", "a part of two workers", "a secret", "nothing to watch"],
)
async def test_settings_that_cannot_work_are_one_clear_sentence(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Exit status 2, for a supervisor not to try again; no secret in the sentence."""
    status, line = await _refusal(tmp_path, *arguments)
    assert status == 2
    assert words in line
    assert line.startswith("ai-gateway: ")
    assert "fakepassword" not in line


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_lack_of_aws_credentials_is_one_clear_sentence(tmp_path: Path, workers: str) -> None:
    """Also of a supervisor, which would otherwise start workers in vain."""
    nowhere = {name: str(tmp_path / "none") for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")}
    environment = {
        **nowhere,
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_REGION": "eu-central-1",
    }
    status, line = await _refusal(tmp_path, "--port", "0", "--workers", workers, **environment)
    assert status == 2
    assert line.startswith(
        "ai-gateway: provider \"anthropic\" can't sign: AWS's default chain has no credentials"
    )


async def test_a_database_that_cannot_be_opened_is_one_clear_sentence(tmp_path: Path) -> None:
    """Exit status 1: trying again may help."""
    (tmp_path / "file").write_text("in the way", "utf-8")
    url = f"sqlite:///{tmp_path / 'file' / 'gateway.db'}"
    status, line = await _refusal(tmp_path, "--port", "0", "--ai-gateway-database-url", url)
    assert status == 1
    assert str(tmp_path / "file") in line


def test_a_host_that_is_not_ours_is_told_apart_from_a_port_that_is_taken() -> None:
    """The sentence says what the operating system said."""
    with pytest.raises(ListenError, match=r"can't listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        listen("192.0.2.1", 0)
    with pytest.raises(ListenError, match=r"can't listen on nobody\.invalid:0: "):
        listen("nobody.invalid", 0)


def test_ipv6_can_be_listened_on() -> None:
    """Where the machine has it."""
    try:
        listener = listen("::1", 0)
    except ListenError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.family == socket.AF_INET6


# -- it ends --------------------------------------------------------------------------------------------------------


async def test_a_live_stream_may_end_and_is_recorded_before_the_process_ends(tmp_path: Path) -> None:
    """SIGTERM: the answer goes on to its last byte, late clients are refused, and its record is in the database."""
    gate = asyncio.Event()
    async with gateway(tmp_path, Reply(200, SSE, [EVENTS[0], gate, *EVENTS[1:]])) as running:
        async with running.stream() as arriving:
            running.process.signal(signal.SIGTERM)
            await running.process.logged("SIGTERM: no new requests, running ones may end")
            assert await _late(running) in (None, 503)
            gate.set()
            assert b"".join([chunk async for chunk in arriving]) == b"".join(EVENTS[1:])
        assert await running.process.ended() == 0
        assert running.interceptions() == [("completed", 200)]


async def _late(running: Serving) -> int | None:
    """What becomes of a request that comes during the shutdown: a status, or None when nobody listens."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        try:
            return (await client.get(f"{running.url}/v1/models", headers=AUTHORIZATION)).status_code
        except httpx.TransportError:
            return None


async def test_a_stream_that_outlives_the_grace_is_cut_and_recorded(tmp_path: Path) -> None:
    """The client sees a cut and not an end; nothing is left without an end in the database."""
    reply = Reply(200, SSE, [EVENTS[0], asyncio.Event()])
    async with gateway(tmp_path, reply, shutdown_grace="100ms") as running:
        async with running.stream() as arriving:
            running.process.signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(arriving)
        assert await running.process.ended() == 0
        ((outcome, status),) = running.interceptions()
    assert outcome is not None
    assert status == 200


async def test_it_says_that_it_is_not_ready_before_it_refuses_anything(tmp_path: Path) -> None:
    """During the delay new connections and new requests are served, so that a load balancer loses none."""
    reply = Reply(200, SSE, EVENTS)
    async with gateway(tmp_path, reply, shutdown_delay="1h") as running, httpx.AsyncClient() as client:
        root = running.url.removesuffix(f"{PREFIX}/anthropic")
        assert (await client.get(f"{root}/readyz")).json() == {"ready": True}
        running.process.signal(signal.SIGTERM)
        await running.process.logged("SIGTERM: not ready; no new requests in 3600 s; once more ends at once")
        said = await client.get(f"{root}/readyz")
        assert (said.status_code, said.json()) == (503, {"ready": False, "reasons": ["shutting down"]})
        assert (await client.get(f"{root}/healthz")).status_code == 200
        await _whole(running)
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 128 + signal.SIGTERM


@pytest.mark.parametrize("workers", [1, 2])
async def test_after_the_delay_it_ends_in_order(tmp_path: Path, workers: int) -> None:
    """A stream that began before lasts through the delay and the grace, and its record is in the database."""
    gate = asyncio.Event()
    reply = Reply(200, SSE, [EVENTS[0], gate, *EVENTS[1:]])
    async with gateway(tmp_path, reply, shutdown_delay="50ms", workers=workers) as running:
        await running.process.logged_times("listening on", workers)  # one that still starts is simply ended
        async with running.stream() as arriving:
            running.process.signal(signal.SIGTERM)
            await running.process.logged_times("SIGTERM: no new requests, running ones may end", workers)
            assert await _late(running) in (None, 503)
            gate.set()
            assert b"".join([chunk async for chunk in arriving]) == b"".join(EVENTS[1:])
        assert await running.process.ended() == 0
        assert running.interceptions() == [("completed", 200)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """Whoever asks twice means it: the status says by which signal."""
    reply = Reply(200, SSE, [EVENTS[0], asyncio.Event()])
    async with gateway(tmp_path, reply, shutdown_grace="1h") as running, running.stream():
        running.process.signal(number)
        await running.process.logged(f"{number.name}: no new requests")
        running.process.signal(number)
        assert await running.process.ended() == 128 + number


async def test_without_requests_it_ends_at_once(tmp_path: Path) -> None:
    """An idle connection that is kept alive does not hold it up."""
    async with gateway(tmp_path, shutdown_grace="1h") as running, httpx.AsyncClient() as client:
        assert (await client.head(running.url)).status_code == 200
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0
    assert not any("Traceback" in line for line in running.process.log)


# -- several workers ------------------------------------------------------------------------------------------------


async def test_two_workers_serve_one_port_and_end_together(tmp_path: Path) -> None:
    """What each of them recorded is in the database."""
    replies = [Reply(200, SSE, EVENTS)] * 8
    async with gateway(tmp_path, *replies, workers=2) as running:
        await asyncio.gather(*(_whole(running) for _ in replies))
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0
        assert running.interceptions() == [("completed", 200)] * len(replies)
    assert len(_children(running)) == 0


async def _whole(running: Serving) -> None:
    async with running.stream() as arriving:
        assert b"".join([chunk async for chunk in arriving]) == b"".join(EVENTS[1:])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """The others go on serving meanwhile; the log says which one died."""
    async with gateway(tmp_path, Reply(200, SSE, EVENTS), workers=2) as running:
        victim, other = _children(running)
        os.kill(victim, signal.SIGKILL)
        await running.process.logged(rf"worker {victim} ended with status -9; starting another")
        await _whole(running)
        assert other in _children(running)
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
async def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """Nobody would stop them any more: each says so, and the port is free again."""
    async with gateway(tmp_path, workers=2) as running:
        running.process.signal(signal.SIGKILL)
        assert (
            await running.process.ended() == -signal.SIGKILL
        )  # the log ends when the last worker has closed it
        gone = [line for line in running.process.log if "the supervisor is gone" in line]
        assert len(gone) == 2
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.head(running.url)


def _children(running: Serving) -> list[int]:
    path = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []
