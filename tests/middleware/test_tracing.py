"""The layer that gives a request its span: what it tells the tracer, and that neither harms the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.errors import BadRequest, ClientLeft, GatewayError, Unavailable, UpstreamBroke
from middleware.exchange import Exchange
from middleware.tracing import TracingMiddleware
from recorders.summaries import Summaries
from tests.asgi import call, drive, http_scope
from tests.middleware.exchanges import Inward, chunk, known_scope, raising, start
from tests.recorders import samples
from tests.spans import KeptSpan, Spans


async def span_of(app: ASGIApp, scope: Scope | None = None) -> KeptSpan:
    """The span of one request to `app`, whatever becomes of it."""
    spans = Spans()
    async with drive(TracingMiddleware(app, tracer=spans), scope or known_scope()) as client:
        await client.ended()
        if client.exception:
            await client.failed()
    assert spans.root.ended == 1
    return spans.root


async def test_it_begins_with_what_the_request_says_and_ends_with_what_became_of_it() -> None:
    """The tracer gets the headers too, of which it knows those of its trace."""
    scope = known_scope(headers=[("traceparent", "00-fake")], query="api-key=fake-query-key")
    span = await span_of(Inward(), scope)
    assert (b"traceparent", b"00-fake") in span.headers
    assert span.name == "chat gpt-x"
    assert span.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/openai/v1/chat/completions",
        "http.route": "/openai/v1/chat/completions",
        "http.response.status_code": 200,
        "user.id": "user-1",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-x",
        "ai_gateway.api": "chat_completions",
        "ai_gateway.credential_kind": "centralized",
        "ai_gateway.provider": "openai",
        "ai_gateway.request_id": "request-1",
    }
    assert not span.failed


async def test_those_inside_find_the_span_on_the_exchange() -> None:
    """That is where the attempts begin theirs."""
    spans, found = Spans(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(Exchange.of(scope).span)

    async with drive(TracingMiddleware(app, tracer=spans), http_scope()) as client:
        await client.completed()
    assert found == spans.roots


@pytest.mark.parametrize(
    ("error", "status", "named"),
    [
        (BadRequest("no"), 400, None),
        (Unavailable("later"), 503, "Unavailable"),
        (LookupError("a mistake"), None, "LookupError"),
        (ClientLeft(), 499, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_an_error_before_the_answer_is_told_by_its_kind(
    error: Exception, status: int | None, named: str | None
) -> None:
    """It fails the span where the gateway is to blame, and not its client; the message is not told."""
    span = await span_of(raising(error))
    assert span.attributes.get("http.response.status_code") == status
    assert span.attributes.get("error.type") == named
    assert span.failed is (named is not None)
    assert "mistake" not in repr(span.attributes)


@pytest.mark.parametrize(
    ("status", "failed"), [(200, False), (404, False), (429, False), (500, True), (529, True)]
)
async def test_an_answer_of_the_provider_fails_the_span_from_500_on(status: int, failed: bool) -> None:
    """So the conventions have it for servers."""
    span = await span_of(Inward(status=status))
    assert span.failed is failed
    assert span.attributes.get("error.type") == (str(status) if failed else None)


async def test_an_answer_that_breaks_off_fails_the_span_and_keeps_its_status() -> None:
    """The client saw a 200 and a cut."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(chunk(b"one"))
        raise UpstreamBroke("cut")

    span = await span_of(app)
    assert (span.failed, span.attributes["http.response.status_code"]) == (True, 200)
    assert span.attributes["error.type"] == "UpstreamBroke"


async def test_a_client_that_left_fails_nothing() -> None:
    """It is told as such."""
    scope = known_scope()
    Exchange.of(scope).client_left = True
    span = await span_of(raising(ClientLeft()), scope)
    assert span.attributes["ai_gateway.client_left"] is True
    assert not span.failed


async def test_a_cancelled_request_ends_its_span() -> None:
    """As servers cancel those whose grace is over."""
    spans, entered = Spans(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await asyncio.Event().wait()

    layer = TracingMiddleware(app, tracer=spans)
    running = asyncio.create_task(layer(http_scope(), Inward, Inward))  # type: ignore[arg-type]
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (spans.root.ended, spans.root.attributes["error.type"]) == (1, "CancelledError")


@pytest.mark.parametrize(
    ("end", "failed", "error"),
    [
        ({}, False, None),
        ({"outcome": "upstream_failed", "error_type": "overloaded_error"}, True, "overloaded_error"),
        ({"outcome": "completed", "error_type": "unreadable"}, False, None),
    ],
    ids=["whole", "failed in mid-stream", "whole and unreadable"],
)
async def test_the_records_of_the_interception_complete_it(
    end: dict[str, Any], failed: bool, error: str | None
) -> None:
    """What they say is taken once, and forgotten."""
    spans, summaries = Spans(), Summaries()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        exchange.interception_id = "i1"
        for record in (samples.start(), samples.tokens(), samples.end(**end)):
            summaries(record)
        await Inward()(scope, receive, send)

    layer = TracingMiddleware(app, tracer=spans, summaries=summaries)
    async with drive(layer, known_scope(), body=b"{}") as client:
        await client.completed()
    span = spans.root
    assert span.attributes["gen_ai.usage.output_tokens"] == samples.tokens().output_tokens
    assert span.attributes.get("error.type") == error
    assert span.failed is failed
    assert summaries.take("i1") is None


@pytest.mark.parametrize("when", ["at the beginning", "at the end"])
async def test_a_tracer_that_fails_costs_a_log_line_and_no_request(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever observes can't fail what they observe."""
    spans = Spans()
    spans.broken = when == "at the beginning"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        spans.broken = True
        await Inward()(scope, receive, send)

    client = await call(TracingMiddleware(app, tracer=spans), known_scope())
    assert client.status == 200
    assert len(caplog.records) == 1


async def test_the_error_that_passes_is_the_one_that_was_raised() -> None:
    """Also where the tracer fails while it passes."""
    spans, error = Spans(), GatewayError("mine")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        spans.broken = True
        raise error

    async with drive(TracingMiddleware(app, tracer=spans), http_scope()) as client:
        assert await client.failed() is error
