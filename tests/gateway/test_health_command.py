"""`ai-gateway health`: what it asks, what it says, and with which status it ends."""

from __future__ import annotations

import asyncio
import socket

import pytest
from starlette.types import Receive, Scope, Send

from gateway.__main__ import main
from gateway.app import create_app
from tests.gateway.rig import AppTransport, WatchedStore, gateway_settings
from tests.servers import serving
from tests.upstream import Upstream


async def ask(*arguments: str) -> int:
    """The exit status; the command blocks, so it runs beside the server that it asks."""
    return await asyncio.to_thread(main, ["health", *arguments])


async def test_a_ready_gateway_is_0_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """As a container's check wants it; also without its being told where."""
    app = create_app(gateway_settings(), store=WatchedStore(), transport=AppTransport(Upstream()))
    async with serving(app) as url:
        port = url.rpartition(":")[2]
        assert await ask("--url", f"{url}/readyz") == 0
        assert await ask("--port", port) == 0
        assert await ask("--port", port, "--host", "0.0.0.0") == 0
    assert capsys.readouterr() == ("", "")


async def test_one_that_is_not_ready_is_1_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence, beside the URL; to be alive is another question."""
    app = create_app(gateway_settings(), store=WatchedStore(), transport=AppTransport(Upstream()))
    async with serving(app) as url:
        app.leave()
        assert await ask("--url", f"{url}/readyz") == 1
        assert await ask("--url", f"{url}/healthz") == 0
    assert capsys.readouterr().err == f"ai-gateway: {url}/readyz: shutting down\n"


async def test_where_nobody_listens_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence says what the operating system said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert await ask("--port", str(port)) == 1
    assert f"127.0.0.1:{port}/readyz: can't be asked: " in capsys.readouterr().err


@pytest.mark.parametrize(("status", "body"), [(404, b"<html>"), (503, b'{"reasons": 5}')])
async def test_another_server_is_1_with_its_status(
    status: int, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it says."""

    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": body})

    async with serving(other) as url:
        assert await ask("--url", url) == 1
    assert capsys.readouterr().err == f"ai-gateway: {url}: answered {status}\n"


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's proxy knows nothing of what runs inside it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    app = create_app(gateway_settings(), store=WatchedStore(), transport=AppTransport(Upstream()))
    async with serving(app) as url:
        assert await ask("--url", f"{url}/readyz") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--port", "0"), "give the URL with --url"), (("--url", "file:///etc/passwd"), "--url must be a URL")],
)
async def test_what_cannot_be_asked_is_2(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command line that is wrong, and not a gateway that isn't ready."""
    assert await ask(*arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "asked"),
    [("::", "[::1]"), ("::1", "[::1]"), ("localhost", "localhost"), ("127.0.0.2", "127.0.0.2")],
)
async def test_the_address_that_is_listened_on_is_asked(
    host: str, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is every address, the loopback's."""
    assert await ask("--host", host, "--port", "1") == 1
    assert f"http://{asked}:1/readyz" in capsys.readouterr().err
