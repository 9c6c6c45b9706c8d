"""What the settings make of traces: nothing, or a tracer and summaries that fit together."""

from __future__ import annotations

from importlib import metadata

import pytest

from gateway.settings import GatewayOptions
from gateway.tracing import tracing_from
from providers.secret import Secret
from recorders.otlp import OtlpTracer
from tests.collector import Collector
from tests.recorders import samples
from tests.servers import serving


def test_without_an_endpoint_there_is_nothing() -> None:
    """Whatever else is set."""
    assert tracing_from(GatewayOptions(otlp_headers=Secret("a=b"), trace_prompts=True)) is None


@pytest.mark.parametrize("prompts", [True, False])
def test_summaries_have_prompts_where_traces_are_to(prompts: bool) -> None:
    """One setting decides for both."""
    tracing = tracing_from(GatewayOptions(otlp_endpoint="http://127.0.0.1:1", trace_prompts=prompts))
    assert tracing is not None
    assert isinstance(tracing.tracer, OtlpTracer)
    for record in (samples.start(), samples.prompt(prompt="why")):
        tracing.summaries(record)
    summary = tracing.summaries.take("i1")
    assert summary is not None
    assert summary.prompt == ("why" if prompts else None)


async def test_headers_and_version_get_to_the_collector() -> None:
    """Once it is open; where the program is no installed one, it has no version."""
    collector = Collector()
    async with serving(collector) as url:
        tracing = tracing_from(GatewayOptions(otlp_endpoint=url, otlp_headers=Secret("x-key=fake")))
        assert tracing is not None
        tracing.open()
        tracing.tracer.begin("x", [], {}).end({})
        await tracing.close()
    assert collector.headers[0]["x-key"] == "fake"
    assert collector.resource["service.version"] == metadata.version("ai-gateway")


def test_a_checkout_on_the_path_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """And traces all the same."""

    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    assert tracing_from(GatewayOptions(otlp_endpoint="http://127.0.0.1:1")) is not None
