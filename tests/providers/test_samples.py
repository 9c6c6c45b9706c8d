"""The samples mean to the vendors' own SDKs what they mean to the readers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from providers.base import ToolCall, Usage
from tests.providers.samples import STREAMS, Sample

WHOLE = [
    sample
    for sample in STREAMS
    if sample.file in ("text.sse", "tool_calls.sse", "thinking.sse", "server_tools.sse")
]
URL = "http://provider.test/v1"

Told = tuple[list[tuple[str, str, Any]], int, int]
"""The client's tool calls as (ID, tool, input), the whole input tokens, the output tokens."""


def client_for(sample: Sample) -> httpx2.Client:
    headers = {"content-type": "text/event-stream"}
    return httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=sample.body))
    )


def by_anthropic(sample: Sample) -> Told:
    client = anthropic.Anthropic(
        api_key="fake", base_url="http://provider.test", http_client=client_for(sample)
    )
    message = {"role": "user", "content": "x"}
    with client.messages.stream(model="m", max_tokens=1, messages=[message]) as stream:  # type: ignore[list-item]
        answer = stream.get_final_message()
    calls = [(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
    used = answer.usage
    cached = (used.cache_read_input_tokens or 0) + (used.cache_creation_input_tokens or 0)
    return calls, used.input_tokens + cached, used.output_tokens


def by_openai_chat(sample: Sample) -> Told:
    client = openai.OpenAI(api_key="fake", base_url=URL, http_client=client_for(sample))
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "x"}]) as stream:
        answer = stream.get_final_completion()
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in answer.choices[0].message.tool_calls or ()
    ]
    assert answer.usage is not None
    return calls, answer.usage.prompt_tokens, answer.usage.completion_tokens


def by_openai_responses(sample: Sample) -> Told:
    client = openai.OpenAI(api_key="fake", base_url=URL, http_client=client_for(sample))
    with client.responses.stream(model="m", input="x") as stream:
        answer = stream.get_final_response()
    calls: list[tuple[str, str, Any]] = []
    for item in answer.output:
        if item.type == "function_call":
            calls.append((item.call_id, item.name, json.loads(item.arguments)))
        elif item.type == "custom_tool_call":
            calls.append((item.call_id, item.name, item.input))
    assert answer.usage is not None
    return calls, answer.usage.input_tokens, answer.usage.output_tokens


BY_SDK = {"messages": by_anthropic, "chat_completions": by_openai_chat, "responses": by_openai_responses}


def by_reader(sample: Sample) -> Told:
    facts = sample.read(sample.body)
    (usage,) = (fact for fact in facts if isinstance(fact, Usage))
    whole = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_write_input_tokens
    return list(client_calls(facts)), whole, usage.output_tokens


def client_calls(facts: Iterable[object]) -> Iterable[tuple[str, str, Any]]:
    for fact in facts:
        if not isinstance(fact, ToolCall) or fact.metadata.get("type") in ("server_tool_use", "mcp_tool_use"):
            continue
        is_text = fact.metadata.get("type") == "custom_tool_call"
        yield fact.tool_call_id, fact.tool, fact.input if is_text else json.loads(fact.input)


@pytest.mark.parametrize("sample", WHOLE, ids=lambda sample: sample.name)
def test_readers_and_sdks_agree(sample: Sample) -> None:
    """The same calls with the same input, and the same number of tokens in and out."""
    assert by_reader(sample) == BY_SDK[sample.api.name](sample)
