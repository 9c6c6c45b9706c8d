"""The names of traces: which attributes there are, and what stands in them."""

from __future__ import annotations

import json
import re

import pytest

from providers import genai
from providers.anthropic.provider import ANTHROPIC
from providers.base import Provider, RequestFacts
from providers.copilot.provider import COPILOT
from providers.openai.provider import OPENAI
from recorders.summaries import Summary

FACTS = RequestFacts(model="gpt-x")


def attributes(provider: Provider, path: str, facts: RequestFacts | None = FACTS) -> dict[str, object]:
    route = provider.match("POST", path)
    assert route is not None
    return dict(genai.call_attributes(provider, route, facts))


@pytest.mark.parametrize(
    ("provider", "path", "vendor"),
    [
        (Provider(OPENAI, "a", "https://api.openai.com/v1"), "/v1/responses", "openai"),
        (
            Provider(OPENAI, "a", "https://corp.openai.azure.com/openai/v1"),
            "/v1/chat/completions",
            "azure.ai.openai",
        ),
        (Provider(ANTHROPIC, "a", "https://api.anthropic.com"), "/v1/messages", "anthropic"),
        (Provider(COPILOT, "a", "https://api.githubcopilot.com"), "/chat/completions", "copilot"),
    ],
)
def test_the_provider_has_its_well_known_name(provider: Provider, path: str, vendor: str) -> None:
    """Where the conventions have one, else that of its type; the instance's own name stands beside it."""
    known = attributes(provider, path)
    assert known["gen_ai.provider.name"] == known["gen_ai.system"] == vendor
    assert (known["gen_ai.operation.name"], known["ai_gateway.provider"]) == ("chat", "a")


def test_a_route_that_only_passes_through_is_no_model_call() -> None:
    """Whatever its body says."""
    provider = Provider(ANTHROPIC, "a", "https://api.anthropic.com")
    assert attributes(provider, "/v1/messages/count_tokens") == {"ai_gateway.provider": "a"}
    assert "gen_ai.request.model" not in attributes(provider, "/v1/messages", RequestFacts())


def test_spans_are_named_by_what_there_are_few_of() -> None:
    """A model has a bound, a path is the listed one, a method is a known one."""
    assert genai.call_name("POST", RequestFacts(model="m" * 500)) == "chat " + "m" * 128
    assert genai.call_name("POST", RequestFacts()) == "chat"
    assert genai.call_name("GET", None, "/a/v1/models") == "GET /a/v1/models"
    assert genai.call_name("_OTHER", None) == genai.call_name("BREW", None) == "HTTP"
    assert (genai.method_of("GET"), genai.method_of("BREW")) == ("GET", "_OTHER")
    provider = Provider(OPENAI, "a", "https://api.openai.com/v1")
    route = provider.match("GET", "/v1/responses/resp_123/input_items")
    assert route is not None
    assert genai.route_of(provider, route) == "/a/v1/responses/*"


def test_input_tokens_include_the_cached_ones() -> None:
    """So the conventions have it; in the records they stand apart."""
    summary = Summary(
        responses=1, input_tokens=10, output_tokens=4, cache_read_input_tokens=5, cache_write_input_tokens=2
    )
    told = genai.answer_attributes(summary)
    assert told == {
        "ai_gateway.tool_calls": 0,
        "gen_ai.usage.input_tokens": 17,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 2,
    }


def test_an_answer_that_told_no_cost_has_no_tokens() -> None:
    """Nobody knows that they are none."""
    told = genai.answer_attributes(Summary(client="Codex", session_id="s", outcome="client_left"))
    assert not {name for name in told if "usage" in name}
    assert (told["ai_gateway.client"], told["gen_ai.conversation.id"]) == ("Codex", "s")


@pytest.mark.parametrize(
    ("outcome", "told"), [("upstream_failed", True), ("refused", True), ("completed", False)]
)
def test_the_type_of_an_error_is_told_where_something_failed(outcome: str, told: bool) -> None:
    """An answer that came whole and could not be read is no failure."""
    summary = Summary(outcome=outcome, error_type="some_type")  # type: ignore[arg-type]
    assert ("error.type" in genai.answer_attributes(summary)) is told


def test_a_prompt_is_one_message_of_a_bounded_length() -> None:
    """In the shape of the conventions; half characters do no harm."""
    told = genai.answer_attributes(Summary(prompt="a\ud800" + "x" * 100_000))
    ((message,)) = json.loads(str(told["gen_ai.input.messages"]))
    (part,) = message["parts"]
    assert (message["role"], part["type"], part["content"][:3]) == ("user", "text", "a?x")
    assert len(part["content"]) == genai.MAX_PROMPT_CHARACTERS


def test_every_name_is_of_the_conventions_or_below_our_own() -> None:
    """And none is there twice."""
    values = [value for name, value in vars(genai).items() if name.isupper() and isinstance(value, str)]
    named = [value for value in values if "." in value]
    assert len(set(named)) == len(named)
    assert all(re.match(r"(gen_ai|error|http|server|url|user|ai_gateway)\.", value) for value in named)
