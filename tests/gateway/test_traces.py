"""Traces of the whole gateway: what a collector receives, what a provider is told, and what a collector can't hurt."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
import pytest

from gateway.stack import the_layer
from middleware.tracing import TracingMiddleware
from providers.secret import Secret
from tests.answers import anthropic, chat
from tests.answers.turn import ToolUse, Turn
from tests.collector import Collector, Span
from tests.gateway.command import clean_environment
from tests.gateway.rig import PREFIX, TOKEN, Rig, client_of, in_process, providers
from tests.gateway.test_bedrock import in_process as bedrock_in_process
from tests.gateway.test_bedrock import judged
from tests.servers import serving
from tests.upstream import CUT, Reply, Upstream

AUTHORIZATION: Final = {"authorization": f"Bearer {TOKEN}"}
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
CLIENTS_SPAN: Final = "b7ad6b7169203331"
TRACEPARENT: Final = f"00-{TRACE}-{CLIENTS_SPAN}-01"
PROMPT: Final = "What is the weather in Turin, says the secret prompt"
STREAM: Final = {
    "model": "claude-x",
    "stream": True,
    "max_tokens": 9,
    "messages": [{"role": "user", "content": PROMPT}],
}
TURN: Final = Turn(
    text="The weather is fine, says the secret answer",
    thought="the secret thought",
    tool=ToolUse("get_weather", '{"city":"the secret argument"}'),
    cached_tokens=5,
)


@asynccontextmanager
async def traced(upstream: Upstream, **changes: Any) -> AsyncIterator[tuple[Rig, Collector]]:
    """A gateway in process whose collector is at the other end of a socket; all spans are there at the end."""
    collector = Collector()
    async with serving(collector) as url:
        settings = {"otlp_endpoint": url, "max_retries": 2} | changes
        async with in_process(upstream, **settings) as rig:
            yield rig, collector


def by_name(spans: list[Span]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.began_ns):
        found.setdefault(span.kind, []).append(span)
    return found


async def a_turn_with_a_retry(**changes: Any) -> tuple[list[Span], Upstream, Rig, Collector]:
    refusal = Reply(503, [(b"retry-after-ms", b"1"), (b"content-type", b"application/json")], [b"{}"])
    upstream = Upstream([refusal, anthropic.reply(TURN, streamed=True)])
    headers = AUTHORIZATION | {
        "traceparent": TRACEPARENT,
        "tracestate": "vendor=1",
        "user-agent": "claude-cli/2.0",
        "x-claude-code-session-id": "session-1",
    }
    async with traced(upstream, **changes) as (rig, collector), client_of(rig.app) as client:
        answer = await client.post(f"{PREFIX}/anthropic/v1/messages?beta=true", json=STREAM, headers=headers)
        assert answer.status_code == 200
        store = await rig.ended()
        assert len(store.ends) == 1
    return collector.spans, upstream, rig, collector


async def test_a_streamed_turn_with_a_retry_is_a_request_and_two_attempts() -> None:
    """The client's trace goes on through the request to each attempt, and from the attempt to the provider."""
    spans, upstream, _, _ = await a_turn_with_a_retry()
    kinds = by_name(spans)
    (request,), (first, second) = kinds["SERVER"], kinds["CLIENT"]
    assert {span.trace_id for span in spans} == {TRACE}
    assert {span.trace_state for span in spans} == {"vendor=1"}
    assert request.parent_id == CLIENTS_SPAN
    assert first.parent_id == second.parent_id == request.span_id
    assert request.began_ns <= first.began_ns <= first.ended_ns <= second.began_ns
    assert second.ended_ns <= request.ended_ns

    told = [(got.values("traceparent"), got.header("tracestate")) for got in upstream.requests]
    assert told == [([f"00-{TRACE}-{span.span_id}-01".encode()], "vendor=1") for span in (first, second)]


async def test_spans_have_the_attributes_of_the_conventions() -> None:
    """Names, types and values, all of them: a name that is added or lost is a change for those who read traces."""
    spans, _, rig, collector = await a_turn_with_a_retry()
    kinds = by_name(spans)
    (request,), (first, second) = kinds["SERVER"], kinds["CLIENT"]
    (start,), (usage, *_) = rig.store.starts, rig.store.token_usages
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": "claude-x",
        "ai_gateway.api": "messages",
        "ai_gateway.provider": "anthropic",
        "http.request.method": "POST",
    }
    server = {"server.address": "provider.test", "server.port": 80}
    assert (request.name, first.name, second.name) == ("chat claude-x",) * 3
    assert first.attributes == call | server | {
        "ai_gateway.attempt": 1,
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert second.attributes == call | server | {
        "ai_gateway.attempt": 2,
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
    }
    assert request.attributes == call | {
        "url.scheme": "http",
        "url.path": f"{PREFIX}/anthropic/v1/messages",
        "http.route": "/anthropic/v1/messages",
        "http.response.status_code": 200,
        "user.id": start.initiator_id,
        "gen_ai.conversation.id": "session-1",
        "gen_ai.response.id": usage.msg_id,
        "gen_ai.usage.input_tokens": usage.input_tokens + 5,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "ai_gateway.client": "Claude Code",
        "ai_gateway.credential_kind": "centralized",
        "ai_gateway.interception_id": start.interception_id,
        "ai_gateway.outcome": "completed",
        "ai_gateway.request_id": start.metadata["request_id"],
        "ai_gateway.tool_calls": 1,
    }
    assert [span.failed for span in (request, first, second)] == [False, True, False]
    assert collector.resource["service.name"] == "ai-gateway"


async def test_no_prompt_answer_or_argument_is_in_a_span() -> None:
    """Nor the query, the tokens or the keys."""
    spans, upstream, _, _ = await a_turn_with_a_retry()
    assert PROMPT in upstream.requests[1].body.decode()
    told = repr(spans)
    for secret in ("secret", "beta=true", TOKEN, "sk-ant-fake"):
        assert secret not in told


async def test_the_last_user_prompt_is_there_where_it_was_asked_for() -> None:
    """And nothing else of the conversation."""
    spans, _, _, _ = await a_turn_with_a_retry(trace_prompts=True)
    (request,) = by_name(spans)["SERVER"]
    assert json.loads(request.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
    ]
    for secret in ("secret answer", "secret thought", "secret argument"):
        assert secret not in repr(spans)


async def test_the_collector_gets_the_headers_that_are_set_and_no_others() -> None:
    """Its key, and nothing of a client's or a provider's."""
    _, _, _, collector = await a_turn_with_a_retry(
        otlp_headers=Secret("authorization=Bearer fake-collector-key")
    )
    assert set(collector.paths) == {"/v1/traces"}
    for headers in collector.headers:
        assert headers.pop("content-length").isdecimal()
        assert headers.pop("host").startswith("127.0.0.1:")
        assert headers == {
            "authorization": "Bearer fake-collector-key",
            "accept-encoding": "identity",
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
        }


async def test_a_client_without_a_trace_begins_one() -> None:
    """Also on a route that only passes through; its span is named by the route as it is listed."""
    async with traced(Upstream(chat.models("m"))) as (rig, collector), client_of(rig.app) as client:
        await client.get(f"{PREFIX}/openai/v1/models", headers=AUTHORIZATION)
    request, attempt = by_name(collector.spans)["SERVER"] + by_name(collector.spans)["CLIENT"]
    assert (request.name, request.parent_id) == ("GET /openai/v1/models", "")
    assert (attempt.name, attempt.parent_id) == ("GET", request.span_id)
    assert not {name for name in request.attributes if name.startswith("gen_ai")}
    (told,) = rig.upstream.requests[0].values("traceparent")
    assert told.startswith(f"00-{request.trace_id}-{attempt.span_id}-".encode())


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "error"),
    [
        ("POST", "/openai/v1/chat/completions", {}, 400, None),
        ("POST", "/openai/v1/files", AUTHORIZATION, 404, None),
        ("BREW", "/nobody/%FF", AUTHORIZATION, 404, None),
        ("GET", "/off/v1/models", AUTHORIZATION, 503, "ProviderDisabled"),
    ],
    ids=["no token", "an unknown route", "an odd one", "a disabled provider"],
)
async def test_a_refused_request_has_a_span_and_no_attempt(
    method: str, target: str, headers: dict[str, str], status: int, error: str | None
) -> None:
    """What a client did wrong is no failure of the gateway; what it can't do is."""
    off = msgspec.structs.replace(providers("http://off.test", enabled=False)[0], name="off")
    given = (*providers("http://provider.test"), off)
    async with traced(Upstream(), providers=given) as (rig, collector), client_of(rig.app) as client:
        answer = await client.request(method, PREFIX + target, headers=headers)
        assert answer.status_code == status
    (span,) = collector.spans
    assert span.name.split()[0] == ("HTTP" if method == "BREW" else method)
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes.get("error.type") == error
    assert span.failed is (error is not None)


async def test_an_answer_that_breaks_off_is_a_failure_of_both_spans() -> None:
    """Though its status was 200."""
    upstream = Upstream(Reply(200, [(b"content-type", b"text/event-stream")], [b"data: {}\n\n", CUT]))
    async with traced(upstream) as (rig, collector), client_of(rig.app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"{PREFIX}/anthropic/v1/messages", json=STREAM, headers=AUTHORIZATION)
        await rig.ended()
    for span in collector.spans:
        assert (span.failed, span.attributes["http.response.status_code"]) == (True, 200)
        assert span.attributes["error.type"]


async def test_a_clients_decision_not_to_sample_is_kept_and_handed_on() -> None:
    """Nothing is sent to the collector, and the provider learns that nothing was."""
    headers = AUTHORIZATION | {"traceparent": TRACEPARENT[:-1] + "0"}
    async with traced(Upstream(chat.models("m"))) as (rig, collector), client_of(rig.app) as client:
        await client.get(f"{PREFIX}/openai/v1/models", headers=headers)
    assert collector.spans == []
    (told,) = rig.upstream.requests[0].values("traceparent")
    assert told.startswith(f"00-{TRACE}-".encode())
    assert told.endswith(b"-00")
    assert told != headers["traceparent"].encode()


async def test_without_a_collector_the_clients_trace_passes_as_it_came() -> None:
    """And the layers are not there."""
    headers = AUTHORIZATION | {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
    async with in_process(Upstream(chat.models("m"))) as rig, client_of(rig.app) as client:
        await client.get(f"{PREFIX}/openai/v1/models", headers=headers)
        assert the_layer(TracingMiddleware, rig.app._pipeline) is None
    assert rig.upstream.requests[0].header("traceparent") == TRACEPARENT
    assert rig.upstream.requests[0].header("tracestate") == "vendor=1"


async def test_without_a_collector_nothing_of_opentelemetry_is_loaded() -> None:
    """It takes a while to load, and memory."""
    program = (
        "import sys, gateway.__main__\n"
        "from gateway.app import create_app\n"
        "create_app()\n"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=clean_environment())
    assert await process.wait() == 0


@pytest.mark.parametrize("statuses", [[500], [503, 503, 503]], ids=["broken", "overloaded"])
async def test_a_collector_that_refuses_costs_a_line_and_no_request(
    statuses: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """The end of the process doesn't wait until it has recovered."""
    collector = Collector(statuses)
    async with (
        serving(collector) as url,
        in_process(Upstream(chat.models("m")), otlp_endpoint=url) as rig,
        client_of(rig.app) as client,
    ):
        answer = await client.get(f"{PREFIX}/openai/v1/models", headers=AUTHORIZATION)
        assert answer.status_code == 200
    said = [record.getMessage() for record in caplog.records if record.name == "ai_gateway.traces"]
    assert said == [f"the collector did not take 2 spans, which are lost (status {statuses[0]})"]
    assert collector.spans == []


async def test_a_collector_that_is_away_costs_a_line_and_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of what a span says is in the line."""
    caplog.set_level(logging.DEBUG)
    async with (
        in_process(Upstream(chat.models("m")), otlp_endpoint="http://127.0.0.1:1") as rig,
        client_of(rig.app) as client,
    ):
        answer = await client.get(f"{PREFIX}/openai/v1/models", headers=AUTHORIZATION)
        assert answer.status_code == 200
    said = [record.getMessage() for record in caplog.records if record.name == "ai_gateway.traces"]
    assert said == ["the collector did not take 2 spans, which are lost (ConnectionRefusedError)"]


async def test_what_goes_to_bedrock_continues_the_trace_too() -> None:
    """Beside a signature that holds; the vendor has its well-known name."""
    async with (
        serving(collector := Collector()) as url,
        bedrock_in_process(judged(Turn(text="Hello")), otlp_endpoint=url) as rig,
        client_of(rig.app) as client,
    ):
        answer = await client.post(f"{PREFIX}/anthropic/v1/messages", json=STREAM, headers=AUTHORIZATION)
        assert answer.status_code == 200
        await rig.ended()
    attempt = by_name(collector.spans)["CLIENT"][0]
    (request,) = rig.upstream.requests
    assert attempt.attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert attempt.span_id in str(request.header("traceparent"))
