"""Chat completions' answers: what is particular beyond the samples."""

from __future__ import annotations

import json
from functools import partial

import pytest

from providers.base import Fact, ProviderFailure, ToolCall, Usage
from providers.openai.chat_answers import ChatEvents, read_answer
from providers.streaming import StreamReader

DONE = b"data: [DONE]\n\n"


def chunk(*calls: dict[str, object], choice: int = 0, finish: str | None = None, **members: object) -> bytes:
    choices = [
        {"index": choice, "delta": {"tool_calls": list(calls)} if calls else {}, "finish_reason": finish}
    ]
    return b"data: " + json.dumps({"id": "c", "choices": choices, **members}).encode() + b"\n\n"


def call(
    written: str = "", index: int | None = 0, id: str | None = None, name: str | None = None
) -> dict[str, object]:
    return {"index": index, "id": id, "function": {"name": name, "arguments": written}}


def read(*events: bytes, reader: StreamReader | None = None) -> list[Fact]:
    reader = reader or StreamReader(ChatEvents)
    facts = [fact for each in events for fact in reader.feed(each)]
    return [*facts, *reader.close()]


def calls_of(facts: list[Fact]) -> list[tuple[str, str, str]]:
    return [(f.tool_call_id, f.tool, f.input) for f in facts if isinstance(f, ToolCall)]


def test_calls_of_several_choices_do_not_mix() -> None:
    """The same index in two choices is two calls."""
    facts = read(
        chunk(call("1", id="a", name="A"), choice=0),
        chunk(call("2", id="b", name="B"), choice=1),
        chunk(call("1"), choice=0),
        chunk(call("2"), choice=1),
        chunk(choice=1, finish="tool_calls"),
        chunk(choice=0, finish="tool_calls"),
        DONE,
    )
    assert calls_of(facts) == [("b", "B", "22"), ("a", "A", "11")]
    assert all(not fact.metadata for fact in facts if isinstance(fact, ToolCall))


def test_a_call_is_told_when_its_choice_finishes() -> None:
    """Not only at the end of the stream."""
    reader = StreamReader(ChatEvents)
    assert list(reader.feed(chunk(call("{}", id="a", name="A")))) == []
    assert len(list(reader.feed(chunk(finish="tool_calls")))) == 1


def test_a_new_id_under_the_same_index_is_a_new_call() -> None:
    """Some providers give every parallel call the index 0."""
    facts = read(chunk(call("1", id="a", name="A")), chunk(call("2", id="b", name="B")), chunk(finish="stop"))
    assert calls_of(facts) == [("a", "A", "1"), ("b", "B", "2")]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    """An ID begins a call, a piece without one goes on with the last."""
    first, second = call("1", None, "a", "A"), call("2", None, "b", "B")
    facts = read(chunk(first), chunk(call("1", None)), chunk(second), chunk(call("2", None)), DONE)
    assert calls_of(facts) == [("a", "A", "11"), ("b", "B", "22")]


def test_a_name_that_is_repeated_is_told_once() -> None:
    """Some providers repeat ID and name in each piece."""
    facts = read(chunk(call("1", id="a", name="A")), chunk(call("2", id="a", name="A")), chunk(finish="stop"))
    assert calls_of(facts) == [("a", "A", "12")]


def test_arguments_may_be_an_object() -> None:
    """Some providers send JSON instead of text."""
    whole = {"index": 0, "id": "a", "function": {"name": "A", "arguments": {"x": 1.0}}}
    assert calls_of(read(chunk(whole), chunk(finish="stop"))) == [("a", "A", '{"x":1.0}')]


def test_custom_tools_keep_their_text() -> None:
    """Their input is text that need not be JSON."""
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "A", "input": "*** Begin"}}
    assert calls_of(read(chunk(custom), chunk(finish="stop"))) == [("a", "A", "*** Begin")]


def test_usage_that_comes_with_each_chunk_is_told_once_as_the_last() -> None:
    """Cumulative reports replace each other."""
    facts = read(
        chunk(usage={"prompt_tokens": 9, "completion_tokens": 1}),
        chunk(usage={"prompt_tokens": 9, "completion_tokens": 2}),
        chunk(usage=None),
        DONE,
        chunk(usage={"prompt_tokens": 9, "completion_tokens": 3}),
    )
    assert facts == [Usage(msg_id="c", input_tokens=9, output_tokens=2)]


def test_usage_beside_a_null_elsewhere_is_seen() -> None:
    """The fast test counts every mention."""
    facts = read(chunk(), chunk(x={"usage": None}, usage={"prompt_tokens": 9}), DONE)
    assert facts == [Usage(msg_id="c", input_tokens=9)]


def test_words_of_the_format_within_text_are_text() -> None:
    """Quotes are escaped there, so nothing is mistaken, and nothing after it is missed."""
    told = b'{"id":"c","choices":[{"delta":{"content":"\\"usage\\":{\\"prompt_tokens\\":5} [DONE] \\"error\\":1"}}]}'
    facts = read(chunk(), b"data: " + told + b"\n\n", chunk(usage={"prompt_tokens": 9}), DONE)
    assert facts == [Usage(msg_id="c", input_tokens=9)]


def test_the_first_id_that_is_not_empty_is_the_response_id() -> None:
    """Azure's first chunk has an empty one."""
    reader = StreamReader(ChatEvents)
    read(b'data: {"id":"","choices":[]}\n\n', chunk(), reader=reader)
    assert reader.msg_id == "c"


def test_an_error_amid_the_stream_is_a_failure() -> None:
    """With a code in place of a type, as some proxies send it."""
    facts = read(chunk(), b'data: {"error":{"code":502,"message":"Upstream"}}\n\n')
    assert facts == [ProviderFailure(type="502", message="Upstream")]


def test_a_broken_event_is_a_flaw_and_reading_goes_on() -> None:
    """One bad event costs one event."""
    reader = StreamReader(ChatEvents)
    facts = read(b"data: {broken\n\n", chunk(usage={"prompt_tokens": 9}), DONE, reader=reader)
    assert len(facts) == 1
    assert len(reader.flaws) == 1


def test_what_is_held_is_bounded() -> None:
    """Calls beyond the limit are told as far as they were kept, with a flaw."""
    reader = StreamReader(partial(ChatEvents, max_held_bytes=1000))
    pieces = [chunk(call("x" * 100, id="a", name="A")), *(chunk(call("x" * 100)) for _ in range(50))]
    more = [chunk(finish="stop"), chunk(call("{}", id="b", name="B")), chunk(finish="stop")]
    facts = read(*pieces, *more, reader=reader)
    first, second = (len(written) for _, _, written in calls_of(facts))
    assert 0 < first < 1000
    assert second == 2
    assert reader.flaws == ["tool calls were longer than what is kept, and are incomplete"]


def test_the_number_of_open_calls_is_bounded() -> None:
    """A provider that never finishes can't fill the memory."""
    reader = StreamReader(ChatEvents)
    facts = read(*(chunk(call(index=index, id=str(index))) for index in range(1500)), reader=reader)
    assert len(facts) == 1024
    assert reader.flaws == ["more tool calls were open than are kept; some were not recorded"]


def test_a_whole_answer_may_have_a_legacy_function_call() -> None:
    """It has no ID."""
    message = {"function_call": {"name": "look", "arguments": "{}"}, "tool_calls": None}
    _, facts = read_answer(
        json.dumps({"id": "c", "choices": [{"message": message}, {"message": None}]}).encode()
    )
    assert facts == [ToolCall(msg_id="c", tool_call_id="", tool="look", input="{}")]


@pytest.mark.parametrize("body", [{"detail": "Unauthorized"}, {"error": "Unauthorized"}])
def test_errors_in_other_shapes_are_failures(body: dict[str, str]) -> None:
    """Proxies and ChatGPT's backend word them in their own way."""
    _, facts = read_answer(json.dumps(body).encode())
    assert facts == [ProviderFailure(type="error", message="Unauthorized")]


def test_an_odd_choice_does_not_cost_the_usage() -> None:
    """A bill rests on the usage, whatever stands beside it."""
    odd = b'data: {"id":7,"choices":[null,{"delta":{"tool_calls":"x"}}],"usage":{"prompt_tokens":9}}\n\n'
    assert read(odd, DONE) == [Usage(msg_id="", input_tokens=9)]
