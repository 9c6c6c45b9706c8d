"""How the chunks of Chat completions become an answer, also those of servers with habits of their own."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.chat.content import Reasoning, ReasoningDelta, Text, TextDelta, Tokens, ToolCall
from tests.answers.chat import DONE
from tests.answers.turn import data_event
from tests.gateway.chat.models.apis import CHAT, QUESTION, answer_of
from tests.upstream import Reply


def stream(*deltas: dict[str, Any], finish: str = "stop", usage: dict[str, Any] | None = None) -> Reply:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": usage})
    return CHAT.stream([*map(data_event, chunks), DONE])


def piece(arguments: str, **more: Any) -> dict[str, Any]:
    """A delta of a call."""
    name = more.pop("name", None)
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}, **more}]}


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end"),
        ("length", "length"),
        ("content_filter", "refusal"),
        ("tool_calls", "end"),
        ("new", "end"),
    ],
)
async def test_why_the_model_stopped(finish: str, stop: str) -> None:
    """Each of the API's reasons is one of ours; where no tool is called, there is none to wait for."""
    assert (await CHAT.answer(stream({"content": "Hi"}, finish=finish))).stop == stop


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call"])
async def test_an_answer_with_calls_stops_for_them_whatever_the_server_says(finish: str) -> None:
    """Some say `stop` of an answer that calls tools."""
    answer = await CHAT.answer(stream(piece("{}", index=0, id="call_1", name="f"), finish=finish))

    assert answer.stop == "tools"


async def test_a_refusal_is_text_and_a_reason() -> None:
    """A person should read why."""
    _, events = await CHAT.ask(stream({"refusal": "I can't"}, {"refusal": " do that"}), QUESTION)

    answer = answer_of(events)
    assert events[:-1] == [TextDelta("I can't"), TextDelta(" do that")]
    assert (answer.parts, answer.stop) == ((Text("I can't do that"),), "refusal")


@pytest.mark.parametrize(
    ("fields", "opaque"),
    [
        (("reasoning_content",), '{"type":"reasoning_content","text":"Let me see"}'),
        (("reasoning",), ""),
        (("reasoning_content", "reasoning"), '{"type":"reasoning_content","text":"Let me see"}'),
    ],
    ids=["reasoning_content", "reasoning", "both"],
)
async def test_reasoning_is_told_once_and_stands_before_the_text(
    fields: tuple[str, ...], opaque: str
) -> None:
    """Servers have two names for it; those that use the first want it back."""
    deltas = [dict.fromkeys(fields, text) for text in ("Let me ", "see")]
    _, events = await CHAT.ask(stream(*deltas, {"content": "Sunny"}), QUESTION)

    reasoning = Reasoning(text="Let me see", opaque=opaque, provider="scripted", model="scripted-model")
    assert events[:-1] == [ReasoningDelta("Let me "), ReasoningDelta("see"), TextDelta("Sunny")]
    assert answer_of(events).parts == (reasoning, Text("Sunny"))


async def test_calls_are_put_together_by_their_index() -> None:
    """Their pieces may come in turns, and servers may repeat ID and name with each."""
    answer = await CHAT.answer(
        stream(
            piece("", index=0, id="call_1", name="f"),
            piece('{"a"', index=0),
            piece("", index=1, id="call_2", name="g"),
            piece(": 1}", index=0, id="call_1", name="f"),
            piece("[", index=1),
        )
    )

    assert answer.parts == (
        ToolCall(call_id="call_1", name="f", arguments='{"a": 1}'),
        ToolCall(call_id="call_2", name="g", arguments="["),
    )


async def test_calls_with_one_index_are_told_apart_by_their_ids() -> None:
    """Some servers count nothing."""
    answer = await CHAT.answer(
        stream(
            piece("{}", index=0, id="call_1", name="f"),
            piece('{"b": 2}', index=0, id="call_2", name="f"),
            piece("{}", id="call_3", name="f"),
        )
    )

    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    assert [(call.call_id, call.arguments) for call in calls] == [
        ("call_1", "{}"),
        ("call_2", '{"b": 2}'),
        ("call_3", "{}"),
    ]


async def test_a_call_without_an_id_gets_one() -> None:
    """Its result couldn't be told whose it is."""
    answer = await CHAT.answer(stream(piece("", index=0, name="f"), piece("", index=1, name="g")))

    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    assert [(call.name, call.arguments) for call in calls] == [("f", "{}"), ("g", "{}")]
    assert len({call.call_id for call in calls if call.call_id}) == 2


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, Tokens()),
        ({"prompt_tokens": 10, "completion_tokens": 2}, Tokens(input=10, output=2)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": None},
            },
            Tokens(input=10, output=2),
        ),
        (
            {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
            Tokens(input=0, output=2, cached=4),
        ),
    ],
    ids=["none", "no details", "no cached", "odd"],
)
async def test_counts_as_servers_give_them(usage: dict[str, Any] | None, tokens: Tokens) -> None:
    """Not every server has all of them, and input is never below zero."""
    assert (await CHAT.answer(stream({"content": "Hi"}, usage=usage))).tokens == tokens


async def test_a_stream_without_the_mark_of_its_end_is_complete_by_its_reason() -> None:
    """Some servers just close the connection."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}

    assert (await CHAT.answer(CHAT.stream([data_event(chunk)]))).parts == (Text("Hi"),)


async def test_an_end_without_a_delta_is_an_end() -> None:
    """Some servers leave it out."""
    chunk = {"choices": [{"index": 0, "finish_reason": "length"}]}

    assert (await CHAT.answer(CHAT.stream([data_event(chunk), DONE]))).stop == "length"
