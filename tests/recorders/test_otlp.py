"""The tracer of a collector: how a trace goes on, what becomes of odd values, and how long its end may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from recorders.otlp import OtlpTracer
from tests.collector import Collector, Span
from tests.servers import serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01".encode()


@asynccontextmanager
async def tracing(collector: Collector) -> AsyncIterator[OtlpTracer]:
    """What was told in the block is at the collector when it ends."""
    async with serving(collector) as url:
        tracer = OtlpTracer(url, version="1.2.3")
        tracer.open()
        yield tracer
        await tracer.close()


async def sent(name: str, *headers: tuple[bytes, bytes], **attributes: str) -> Span:
    """A span as it arrives."""
    collector = Collector()
    async with tracing(collector) as tracer:
        tracer.begin(name, headers, attributes).end({})
    (span,) = collector.spans
    return span


async def test_a_span_has_what_it_was_told_at_its_beginning_and_at_its_end() -> None:
    """And says which program it is of."""
    collector = Collector()
    async with tracing(collector) as tracer:
        span = tracer.begin("began", [], {"text": "a", "kept": 1})
        span.child("asked", {"number": 5}).end({"share": 0.5, "switch": True})
        span.end({"text": "b"}, name="ended", failed=True)
    child, root = collector.spans
    assert (root.name, root.kind, root.failed) == ("ended", "SERVER", True)
    assert root.attributes == {"text": "b", "kept": 1}
    assert (child.name, child.kind, child.failed) == ("asked", "CLIENT", False)
    assert child.attributes == {"number": 5, "share": 0.5, "switch": True}
    assert (child.trace_id, child.parent_id) == (root.trace_id, root.span_id)
    assert collector.resource["service.version"] == "1.2.3"


async def test_the_trace_of_the_headers_goes_on() -> None:
    """Names in any case, a state in several parts."""
    span = await sent("x", (b"TraceParent", SAMPLED), (b"tracestate", b"a=1"), (b"TraceState", b"b=2"))
    assert (span.trace_id, span.parent_id, span.trace_state) == (TRACE, "b7ad6b7169203331", "a=1,b=2")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"traceparent", b"garbage")],
        [(b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")],
        [(b"traceparent", SAMPLED), (b"traceparent", SAMPLED)],
        [(b"traceparent", b"\xff\xfe")],
        [(b"tracestate", b"a=1")],
    ],
    ids=["garbage", "zeros", "two of them", "no ASCII", "a state alone"],
)
async def test_headers_that_name_no_trace_begin_one(headers: list[tuple[bytes, bytes]]) -> None:
    """Nothing of them is handed on."""
    span = await sent("x", *headers)
    assert (span.parent_id, span.trace_state) == ("", "")
    assert span.trace_id not in (TRACE, "0" * 32)


async def test_the_context_of_a_span_is_what_another_program_continues_it_by() -> None:
    """In the form of W3C."""
    collector = Collector()
    async with tracing(collector) as tracer:
        span = tracer.begin("x", [(b"traceparent", SAMPLED), (b"tracestate", b"a=1")], {})
        context = span.context()
        span.end({})
    (arrived,) = collector.spans
    assert context == [
        (b"traceparent", f"00-{TRACE}-{arrived.span_id}-01".encode()),
        (b"tracestate", b"a=1"),
    ]


async def test_half_characters_cost_no_batch() -> None:
    """A path or a prompt may hold them; the span arrives with question marks."""
    span = await sent("na\udcffme", text="a\ud800b", whole="a\u00e9")
    assert (span.name, span.attributes) == ("na?me", {"text": "a?b", "whole": "aé"})


async def test_very_long_text_is_cut() -> None:
    """A batch has its limits at every collector."""
    span = await sent("x", text="x" * 100_000)
    assert len(span.attributes["text"]) == 32 * 1024


async def test_spans_are_sent_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the SDK's own variables would have it otherwise."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0")
    collector = Collector()
    async with serving(collector) as url:
        tracer = OtlpTracer(url, every_s=0.01)
        tracer.open()
        tracer.begin("x", [], {"a": 1}).end({})
        (span,) = await collector.received(1)
        await tracer.close()
    assert span.attributes == {"a": 1}


async def test_a_collector_that_never_answers_holds_the_end_up_no_longer_than_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it has not taken then is lost, and the log says so."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.set()
            await left.wait()

    async with serving(silent) as url:
        tracer = OtlpTracer(url, flush_s=0.05)
        tracer.open()
        tracer.begin("x", [], {}).end({})
        await tracer.close()
        await asked.wait()
        left.set()
    assert "the collector of traces took too long: the last spans are lost" in caplog.messages


async def test_it_can_be_closed_twice_and_opened_again() -> None:
    """As a host does that enters a lifespan twice. Closed, it takes nothing."""
    collector = Collector()
    async with serving(collector) as url:
        tracer = OtlpTracer(url)
        with pytest.raises(RuntimeError, match="not open"):
            tracer.begin("x", [], {})
        for name in ("one", "two"):
            tracer.open()
            tracer.begin(name, [], {}).end({})
            await tracer.close()
            await tracer.close()
    assert [span.name for span in collector.spans] == ["one", "two"]
