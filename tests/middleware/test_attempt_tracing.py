"""The layer that gives each attempt its span: what it tells, and what it puts into the provider's request."""

from __future__ import annotations

import pytest
from starlette.types import ASGIApp, Scope

from middleware.attempt_tracing import AttemptTracingMiddleware
from middleware.errors import CircuitOpen, ClientLeft, UpstreamTimeout
from middleware.exchange import Exchange
from tests.asgi import call, drive
from tests.middleware.exchanges import Inward, known_scope, raising
from tests.spans import KeptSpan, Spans


def attempt_scope(attempt: int = 1, *, span: KeptSpan | None = None, headers: list[tuple[str, str]]) -> Scope:
    scope = known_scope(headers=headers)
    scope["server"] = ("openai.test", 443)
    exchange = Exchange.of(scope)
    exchange.attempt, exchange.span = attempt, span
    return scope


async def attempt_span(app: ASGIApp, attempt: int = 1, *, client_left: bool = False) -> KeptSpan:
    """The span of one attempt, whatever becomes of it."""
    request = Spans().begin("POST", [], {})
    scope = attempt_scope(attempt, span=request, headers=[])
    Exchange.of(scope).client_left = client_left
    async with drive(AttemptTracingMiddleware(app), scope) as client:
        await client.ended()
        if client.exception:
            await client.failed()
    (span,) = request.children
    assert span.ended == 1
    assert Exchange.of(scope).attempt_span is span
    return span


async def test_it_tells_where_the_attempt_went_and_how_it_ended() -> None:
    """The first of them is no resend."""
    span = await attempt_span(Inward())
    assert span.name == "chat gpt-x"
    assert span.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "openai.test",
        "server.port": 443,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-x",
        "ai_gateway.api": "chat_completions",
        "ai_gateway.attempt": 1,
        "ai_gateway.provider": "openai",
    }
    assert not span.failed
    third = await attempt_span(Inward(), 3)
    assert (third.attributes["ai_gateway.attempt"], third.attributes["http.request.resend_count"]) == (3, 2)


async def test_the_provider_gets_the_attempts_context_in_the_place_of_the_clients() -> None:
    """Whatever the client sent, in any case, as often as it did; all other headers stay as they are."""
    inward, request = Inward(), Spans().begin("POST", [], {})
    headers = [
        ("TraceParent", "00-old"),
        ("x-a", "1"),
        ("tracestate", "a=b"),
        ("tracestate", "c=d"),
        ("baggage", "e=f"),
    ]
    await call(AttemptTracingMiddleware(inward), attempt_scope(span=request, headers=headers))
    (span,) = request.children
    assert inward.request_headers == [
        (b"x-a", b"1"),
        (b"baggage", b"e=f"),
        (b"traceparent", span.traceparent),
    ]


async def test_without_a_span_of_the_request_everything_passes_as_it_came() -> None:
    """As in a stack without the tracing layer."""
    inward = Inward()
    scope = attempt_scope(span=None, headers=[("traceparent", "00-old"), ("tracestate", "a=b")])
    await call(AttemptTracingMiddleware(inward), scope)
    assert inward.scope is scope


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_a_refusal_of_the_provider_fails_the_attempt(status: int) -> None:
    """So the conventions have it for clients, from 400 on."""
    span = await attempt_span(Inward(status=status))
    assert (span.failed, span.attributes["error.type"]) == (True, str(status))


@pytest.mark.parametrize("error", [UpstreamTimeout("connect", 10), CircuitOpen(3)])
async def test_an_attempt_without_an_answer_is_told_by_its_error(error: Exception) -> None:
    """Its kind, and not its message."""
    span = await attempt_span(raising(error))
    assert (span.failed, span.attributes["error.type"]) == (True, type(error).__name__)
    assert "http.response.status_code" not in span.attributes


@pytest.mark.parametrize("client_left", [True, False], ids=["seen elsewhere", "raised here"])
async def test_a_client_that_left_is_no_failure_of_the_provider(client_left: bool) -> None:
    """It may have been about to answer."""
    span = await attempt_span(raising(ClientLeft()), client_left=client_left)
    assert span.attributes["ai_gateway.client_left"] is True
    assert not span.failed


async def test_a_tracer_that_fails_costs_a_log_line_and_leaves_the_request_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether it fails at the beginning of the span or at its end."""
    for breaks_late in (False, True):
        spans, inward = Spans(), Inward()
        scope = attempt_scope(span=spans.begin("POST", [], {}), headers=[("traceparent", "00-old")])
        spans.broken = not breaks_late

        async def app(*arguments: object, spans: Spans = spans, inward: Inward = inward) -> None:
            spans.broken = True
            await inward(*arguments)  # type: ignore[arg-type]

        caplog.clear()
        client = await call(AttemptTracingMiddleware(app), scope)
        assert client.status == 200
        assert len(caplog.records) == 1
        assert breaks_late or inward.values(b"traceparent") == [b"00-old"]
