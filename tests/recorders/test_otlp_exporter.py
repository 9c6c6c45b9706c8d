"""The collector's side: where batches go, when one is tried again, and what is said of one that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext

from recorders.otlp_exporter import OtlpExporter
from tests.collector import Collector
from tests.servers import serving

NO_PAUSES = (0.0, 0.0)


def spans() -> list[ReadableSpan]:
    context = SpanContext(trace_id=1, span_id=2, is_remote=False)
    return [ReadableSpan("one", context, resource=Resource({}), start_time=1, end_time=2)]


async def export(exporter: OtlpExporter, batch: Sequence[ReadableSpan] | None = None) -> bool:
    """Whether the batch was taken; beside the event loop, as in the gateway."""
    result = await asyncio.to_thread(exporter.export, spans() if batch is None else batch)
    return result is SpanExportResult.SUCCESS


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/v1/traces"),
        ("/", "/v1/traces"),
        ("/otlp", "/otlp/v1/traces"),
        ("/otlp/", "/otlp/v1/traces"),
        ("/otlp/v1/traces", "/otlp/v1/traces"),
    ],
)
async def test_a_base_url_and_the_whole_one_lead_to_the_same_place(path: str, asked: str) -> None:
    """Vendors' documents show either."""
    collector = Collector()
    async with serving(collector) as url:
        assert await export(OtlpExporter(url + path, headers={"x-key": "fake"}))
    assert collector.paths == [asked]
    assert collector.headers[0]["x-key"] == "fake"
    assert [span.name for span in collector.spans] == ["one"]


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://"])
def test_another_kind_of_url_is_refused(endpoint: str) -> None:
    """By the name of the option."""
    with pytest.raises(ValueError, match="endpoint"):
        OtlpExporter(endpoint, headers={})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_passing_trouble_is_tried_again(status: int) -> None:
    """As the protocol allows it."""
    collector = Collector([status, status])
    async with serving(collector) as url:
        assert await export(OtlpExporter(url, headers={}, pauses_s=NO_PAUSES))
    assert len(collector.paths) == 3
    assert len(collector.spans) == 1


@pytest.mark.parametrize("status", [301, 400, 401, 500])
async def test_a_refusal_and_a_redirect_are_not(status: int) -> None:
    """The headers of one collector are none of another's business."""
    collector = Collector([status])
    async with serving(collector) as url:
        assert not await export(OtlpExporter(url, headers={}, pauses_s=NO_PAUSES))
    assert len(collector.paths) == 1


async def test_tries_have_an_end() -> None:
    """Newer spans wait behind."""
    collector = Collector([503] * 9)
    async with serving(collector) as url:
        assert not await export(OtlpExporter(url, headers={}, pauses_s=NO_PAUSES))
    assert len(collector.paths) == 3


async def test_one_in_a_hurry_tries_once_and_waits_for_nothing() -> None:
    """The process is ending; a collector that takes the batch then still gets it."""
    collector = Collector([503])
    async with serving(collector) as url:
        exporter = OtlpExporter(url, headers={}, pauses_s=(3600.0,))
        exporter.hurry()
        assert not await export(exporter)
        assert await export(exporter)


async def test_a_pause_ends_when_the_process_does() -> None:
    """However long it was to be."""
    collector = Collector([503])
    async with serving(collector) as url:
        exporter = OtlpExporter(url, headers={}, pauses_s=(3600.0,))
        exporting = asyncio.create_task(export(exporter))
        await collector.asked(1)
        exporter.shutdown()
        assert not await exporting


async def test_what_is_lost_is_said_once_a_minute_in_words_without_spans(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A collector that is away for a day fills no log."""
    now = [0.0]
    exporter = OtlpExporter("http://127.0.0.1:1", headers={}, pauses_s=(), clock=lambda: now[0])
    for seconds in (0.0, 59.0, 60.0):
        now[0] = seconds
        assert not await export(exporter)
    line = "the collector did not take 1 spans, which are lost (ConnectionRefusedError)"
    assert caplog.messages == [line, line]


async def test_a_batch_that_cannot_be_written_is_lost_and_raises_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The words of the error could quote it."""
    odd: Any = ["no span at all"]
    assert not await export(OtlpExporter("http://127.0.0.1:1", headers={}), odd)
    assert "AttributeError" in caplog.text
    assert "no span" not in caplog.text


async def test_the_environment_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor the headers that another program's exporter is to send."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=fake-key-of-another")
    collector = Collector()
    async with serving(collector) as url:
        assert await export(OtlpExporter(url, headers={}))
    assert "authorization" not in collector.headers[0]


def test_nothing_is_kept_that_could_be_flushed() -> None:
    """Its caller keeps the spans."""
    assert OtlpExporter("http://127.0.0.1:1", headers={}).force_flush()
