"""How the events of Anthropic's stream become an answer."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.chat.content import Reasoning, Text, TextDelta, Tokens, ToolCall
from tests.answers.turn import named_event
from tests.gateway.chat.models.apis import MESSAGES, QUESTION, answer_of
from tests.upstream import Reply

START = {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": []}}
STOP = {"type": "message_stop"}


def stream(*events: dict[str, Any], stop_reason: str = "end_turn", **usage: int) -> Reply:
    end = {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage}
    return MESSAGES.stream([named_event(event) for event in (START, *events, end, STOP)])


def began(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", "end"),
        ("stop_sequence", "end"),
        ("tool_use", "end"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "end"),
        ("brand_new", "end"),
    ],
)
async def test_why_the_model_stopped(reason: str, stop: str) -> None:
    """Each of the API's reasons is one of ours; where no tool is called, there is none to wait for."""
    assert (await MESSAGES.answer(stream(stop_reason=reason))).stop == stop


@pytest.mark.parametrize(
    ("reason", "stop"), [("tool_use", "tools"), ("end_turn", "tools"), ("max_tokens", "length")]
)
async def test_an_answer_with_calls_stops_for_them_unless_it_was_cut(reason: str, stop: str) -> None:
    """A call that was cut off isn't one to make."""
    call = began(0, type="tool_use", id="toolu_1", name="f", input={})

    assert (await MESSAGES.answer(stream(call, stop_reason=reason))).stop == stop


async def test_redacted_thinking_is_kept_for_the_provider() -> None:
    """There is nothing to read in it, and the model wants it back."""
    reply = stream(began(0, type="redacted_thinking", data="c2VhbGVk"), began(1, type="text", text="Hi"))
    reasoning, text = (await MESSAGES.answer(reply)).parts

    assert isinstance(reasoning, Reasoning)
    assert reasoning.text == ""
    assert reasoning.opaque == '{"type":"redacted_thinking","data":"c2VhbGVk"}'
    assert text == Text("Hi")


async def test_thinking_without_a_signature_is_not_to_go_back() -> None:
    """The API refuses it; a person may read it all the same."""
    reply = stream(
        began(0, type="thinking", thinking="", signature=""),
        piece(0, type="thinking_delta", thinking="Hm"),
    )
    (reasoning,) = (await MESSAGES.answer(reply)).parts

    assert reasoning == Reasoning(text="Hm", opaque="", provider="scripted", model="scripted-model")


async def test_a_signature_without_text_is_kept() -> None:
    """Some models don't show what they think."""
    reply = stream(
        began(0, type="thinking", thinking="", signature=""),
        piece(0, type="signature_delta", signature="c2lnbmVk"),
    )
    (reasoning,) = (await MESSAGES.answer(reply)).parts

    assert isinstance(reasoning, Reasoning)
    assert reasoning.opaque == '{"type":"thinking","thinking":"","signature":"c2lnbmVk"}'


async def test_text_that_comes_with_the_start_of_its_block_is_not_lost() -> None:
    """Compatible servers send it so."""
    _, events = await MESSAGES.ask(stream(began(0, type="text", text="Sunny")), QUESTION)

    assert events[0] == TextDelta("Sunny")
    assert answer_of(events).parts == (Text("Sunny"),)


@pytest.mark.parametrize(
    ("events", "arguments"),
    [
        ([began(0, type="tool_use", id="toolu_1", name="f", input={})], "{}"),
        ([began(0, type="tool_use", id="toolu_1", name="f", input={"a": 1})], '{"a":1}'),
        (
            [
                began(0, type="tool_use", id="toolu_1", name="f", input={}),
                piece(0, type="input_json_delta", partial_json=""),
                piece(0, type="input_json_delta", partial_json='{"a": 1, '),
                piece(0, type="input_json_delta", partial_json='"b"'),
            ],
            '{"a": 1, "b"',
        ),
    ],
    ids=["without", "at once", "in pieces"],
)
async def test_arguments_are_the_models_own_text(events: list[dict[str, Any]], arguments: str) -> None:
    """Also when they are no JSON: whoever calls the tool says so."""
    (call,) = (await MESSAGES.answer(stream(*events))).parts

    assert call == ToolCall(call_id="toolu_1", name="f", arguments=arguments)


async def test_tokens_written_to_a_cache_are_input() -> None:
    """They were read anew; only those that came out of a cache are not."""
    reply = stream(
        input_tokens=3, cache_creation_input_tokens=40, cache_read_input_tokens=500, output_tokens=7
    )

    assert (await MESSAGES.answer(reply)).tokens == Tokens(input=43, output=7, cached=500)


async def test_a_server_that_counts_nothing_counts_as_zero() -> None:
    """Not every compatible server has counts."""
    assert (await MESSAGES.answer(stream())).tokens == Tokens()
