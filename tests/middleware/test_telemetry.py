"""The telemetry layer: one ID and one access line a request, with no query, header or body in it."""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.errors import ClientLeft, NoToken, UpstreamBroke
from middleware.exchange import Exchange
from middleware.telemetry import TelemetryMiddleware
from tests.asgi import call, drive, http_scope
from tests.middleware.exchanges import Inward, chunk, known_scope, raising, start

FIELDS = [
    "request_id",
    "method",
    "path",
    "status",
    "duration_ms",
    "bytes",
    "user",
    "api_key_id",
    "provider",
    "model",
    "credential_kind",
    "interception_id",
    "client_left",
    "broken",
]


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ai_gateway.access")


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    (record,) = [each for each in caplog.records if each.name == "ai_gateway.access"]
    return {name: getattr(record, name) for name in FIELDS}


def layer(app: ASGIApp) -> TelemetryMiddleware:
    ids, ticks = count(1), count(0)
    return TelemetryMiddleware(app, new_id=lambda: f"id-{next(ids)}", clock=lambda: next(ticks) * 0.25)


async def test_each_request_gets_an_id_that_the_answer_carries() -> None:
    """The exchange and the client know the request under one name; an inner one gives way."""
    inward = Inward(headers=[(b"X-AI-Gateway-Request-ID", b"forged"), (b"x-other", b"1")])
    app = layer(inward)
    answers = [await call(app, http_scope("POST", "/x")) for _ in range(2)]
    assert [Exchange.of(scope).request_id for scope in inward.scopes] == ["id-1", "id-2"]
    for number, answer in enumerate(answers, 1):
        assert answer.headers == [
            (b"x-other", b"1"),
            (b"x-ai-gateway-request-id", f"id-{number}".encode()),
        ]


async def test_the_line_says_what_the_layers_learned(caplog: pytest.LogCaptureFixture) -> None:
    """Who, what, how long and how much, from the exchange as it is at the end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        Exchange.of(scope).interception_id = "interception-1"
        await send(start(201))
        await send(chunk(b"12345"))
        await send(chunk(b"678", more=False))

    await call(layer(app), known_scope(kind="byok"))
    assert line(caplog) == {
        "request_id": "id-1",
        "method": "POST",
        "path": "/openai/v1/chat/completions",
        "status": 201,
        "duration_ms": 250.0,
        "bytes": 8,
        "user": "alice",
        "api_key_id": "key-1",
        "provider": "openai",
        "model": "gpt-x",
        "credential_kind": "byok",
        "interception_id": "interception-1",
        "client_left": False,
        "broken": False,
    }


async def test_a_request_of_a_stranger_has_a_line_too(caplog: pytest.LogCaptureFixture) -> None:
    """An error that passes tells its status, whether the errors layer stands outside or not."""
    refused = NoToken()
    async with drive(layer(raising(refused)), http_scope("POST", "/x")) as client:
        assert await client.failed() is refused
    found = line(caplog)
    assert (found["status"], found["user"], found["broken"]) == (400, None, False)


@pytest.mark.parametrize("failure", [RuntimeError(), UpstreamBroke("the provider's answer broke off")])
async def test_a_broken_answer_keeps_its_status_and_is_marked(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """What the client saw was a 200 that broke off."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        await send(chunk(b"half"))
        raise failure

    async with drive(layer(app), http_scope()) as client:
        await client.failed()
    found = line(caplog)
    assert (found["status"], found["bytes"], found["broken"]) == (200, 4, True)


async def test_an_unforeseen_error_counts_as_500(caplog: pytest.LogCaptureFixture) -> None:
    """That is what the errors layer will answer."""
    async with drive(layer(raising(RuntimeError())), http_scope("POST", "/x")) as client:
        await client.failed()
    assert (line(caplog)["status"], line(caplog)["broken"]) == (500, True)


async def test_a_client_that_left_shows(caplog: pytest.LogCaptureFixture) -> None:
    """499 by custom, when no answer had begun."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        Exchange.of(scope).client_left = True
        raise ClientLeft

    async with drive(layer(app), http_scope()) as client:
        await client.failed()
    assert (line(caplog)["status"], line(caplog)["client_left"]) == (499, True)


async def test_an_answer_that_its_client_left_is_not_broken(caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to look into."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        Exchange.of(scope).client_left = True
        raise ClientLeft

    async with drive(layer(app), http_scope()) as client:
        await client.failed()
    found = line(caplog)
    assert (found["status"], found["client_left"], found["broken"]) == (200, True, False)


async def test_a_cancelled_request_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """The line is written without waiting, so that a cancellation can't lose it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        await asyncio.Event().wait()

    async with drive(layer(app), http_scope()) as client:
        await client.message(0)
        client.cancel()
        await client.ended()
        await client.failed()
    assert line(caplog)["status"] == 200


async def test_no_answer_is_no_status(caplog: pytest.LogCaptureFixture) -> None:
    """An app that returns in silence is not told as a success."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    await call(layer(app), http_scope())
    assert line(caplog)["status"] is None


async def test_the_line_holds_no_query_header_or_body(caplog: pytest.LogCaptureFixture) -> None:
    """Secrets travel there."""
    scope = http_scope("POST", "/x?key=canary-query", headers=[("authorization", "Bearer canary-header")])
    await call(layer(Inward(b"canary-answer")), scope, b"canary-body")
    (record,) = caplog.records
    assert "canary" not in str(vars(record) | {"msg": record.getMessage()})


async def test_a_quiet_log_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Below INFO the line is not even made."""
    caplog.set_level(logging.WARNING, "ai_gateway.access")
    await call(layer(Inward()), http_scope("POST", "/x"))
    assert not caplog.records
