"""Anthropic's streams: what is particular beyond the samples."""

from __future__ import annotations

import json
from functools import partial

import pytest

from providers.anthropic.stream import MessageEvents
from providers.base import Fact, ProviderFailure, Thought, ToolCall, Usage
from providers.streaming import StreamReader


def event(type_: str, **members: object) -> bytes:
    return f"event: {type_}\ndata: {json.dumps({'type': type_, **members})}\n\n".encode()


def start(**usage: object) -> bytes:
    return event("message_start", message={"id": "msg_1", "usage": usage})


def delta(**usage: object) -> bytes:
    return event("message_delta", delta={}, usage=usage)


def block(kind: str, index: int = 0, **members: object) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **members})


def piece(
    written: str, index: int = 0, kind: str = "input_json_delta", member: str = "partial_json"
) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, member: written})


def end(index: int = 0) -> bytes:
    return event("content_block_stop", index=index)


STOP = event("message_stop")


def read(*events: bytes, reader: StreamReader | None = None) -> list[Fact]:
    reader = reader or StreamReader(MessageEvents)
    facts = [fact for each in events for fact in reader.feed(each)]
    return [*facts, *reader.close()]


def test_usage_is_replaced_and_not_added() -> None:
    """`message_delta` is cumulative: 5 output tokens after 1 are 5, and what it leaves out or nulls stays."""
    facts = read(
        start(input_tokens=10, output_tokens=1, cache_read_input_tokens=7),
        delta(output_tokens=3),
        delta(output_tokens=5, input_tokens=None, cache_creation_input_tokens=2),
        STOP,
    )
    assert facts == [
        Usage(
            msg_id="msg_1",
            input_tokens=10,
            output_tokens=5,
            cache_read_input_tokens=7,
            cache_write_input_tokens=2,
        )
    ]


def test_usage_is_told_when_the_message_stops() -> None:
    """Not only when the connection closes, which may be much later."""
    reader = StreamReader(MessageEvents)
    reader.feed(start(input_tokens=1))
    assert len(list(reader.feed(STOP))) == 1
    assert list(reader.feed(delta(output_tokens=9))) == []
    assert list(reader.close()) == []


def test_each_fact_is_told_when_it_is_complete() -> None:
    """A tool call when its block ends, not when the message does."""
    reader = StreamReader(MessageEvents)
    assert list(reader.feed(start() + block("tool_use", id="t", name="Bash") + piece("{}"))) == []
    assert len(list(reader.feed(end()))) == 1


def test_interleaved_blocks_are_joined_by_index() -> None:
    """Two open blocks don't mix."""
    facts = read(
        start(),
        block("tool_use", 1, id="a", name="A"),
        block("tool_use", 2, id="b", name="B"),
        piece("1", 1),
        piece("2", 2),
        piece("1", 1),
        end(2),
        end(1),
    )
    assert [(fact.tool_call_id, fact.input) for fact in facts if isinstance(fact, ToolCall)] == [
        ("b", "2"),
        ("a", "11"),
    ]


def test_input_that_came_with_the_block_is_kept() -> None:
    """Some providers send the whole input at once, without deltas."""
    facts = read(start(), block("tool_use", id="a", name="A", input={"x": 1.0}), end())
    assert [fact.input for fact in facts if isinstance(fact, ToolCall)] == ['{"x": 1.0}']


def test_input_of_a_dull_looking_block_is_read() -> None:
    """Text that looks like the beginning of a text delta is text, also within a tool's input."""
    disguise = '"delta":{"type":"text_delta"'
    facts = read(
        start(),
        block("tool_use", id="a", name="A"),
        event("content_block_delta", index=1, delta={"type": "text_delta", "text": "x"}),
        piece(disguise),
        piece("text_delta"),
        end(),
    )
    assert [fact.input for fact in facts if isinstance(fact, ToolCall)] == [disguise + "text_delta"]


def test_thinking_may_begin_in_its_first_event() -> None:
    """What the block came with stands before its deltas."""
    facts = read(
        start(),
        block("thinking", thinking="Let"),
        piece(" me", kind="thinking_delta", member="thinking"),
        end(),
    )
    assert facts == [Thought(content="Let me", source="thinking")]


@pytest.mark.parametrize("kind", ["redacted_thinking", "text", "web_search_tool_result", "", "future"])
def test_other_blocks_tell_nothing(kind: str) -> None:
    """Text and redacted thinking are not recorded."""
    assert read(start(), block(kind, data="x", text="y", thinking="z"), piece("a"), end()) == []


def test_a_cut_thought_is_told_as_far_as_it_came() -> None:
    """A stream cut early records what was known."""
    facts = read(start(), block("thinking"), piece("Let me", kind="thinking_delta", member="thinking"))
    assert facts == [Thought(content="Let me", source="thinking")]


def test_a_block_that_starts_again_was_cut() -> None:
    """A provider that forgets to end a block loses nothing."""
    facts = read(block("tool_use", id="a", name="A"), piece("1"), block("tool_use", id="b", name="B"), end())
    assert [(f.tool_call_id, f.metadata.get("truncated")) for f in facts if isinstance(f, ToolCall)] == [
        ("a", "true"),
        ("b", None),
    ]


def test_a_second_message_has_its_own_usage() -> None:
    """One usage for each response, also when two come in one stream."""
    again = event("message_start", message={"id": "msg_2", "usage": {"input_tokens": 2}})
    facts = read(start(input_tokens=1), again, STOP)
    assert [(fact.msg_id, fact.input_tokens) for fact in facts if isinstance(fact, Usage)] == [
        ("msg_1", 1),
        ("msg_2", 2),
    ]


def test_an_error_without_a_type_in_its_data_is_known_by_its_name() -> None:
    """The event's name stands in for a missing type."""
    facts = read(b'event: error\ndata: {"error":{"type":"api_error","message":"Oops"}}\n\n')
    assert facts == [ProviderFailure(type="api_error", message="Oops")]


def test_a_broken_event_is_a_flaw_and_reading_goes_on() -> None:
    """One bad event costs one event."""
    reader = StreamReader(MessageEvents)
    facts = read(start(input_tokens=1), b"data: {broken\n\n", b'data: {"type":7}\n\n', STOP, reader=reader)
    assert len(facts) == 1
    assert len(reader.flaws) == 2
    assert all(flaw.startswith("an event was not read: ") for flaw in reader.flaws)


def test_what_is_held_is_bounded() -> None:
    """A tool call beyond the limit is told as far as it was kept, with a flaw; then there is room again."""
    reader = StreamReader(partial(MessageEvents, max_held_bytes=1000))
    facts = read(
        block("tool_use", id="a", name="A"),
        *(piece("x" * 100) for _ in range(50)),
        end(),
        block("tool_use", id="b", name="B"),
        piece("{}"),
        end(),
        reader=reader,
    )
    written = [fact.input for fact in facts if isinstance(fact, ToolCall)]
    assert 100 <= len(written[0]) <= 1000
    assert written[1] == "{}"
    assert reader.flaws == ["tool input or thinking was longer than what is kept, and is incomplete"]


def test_the_number_of_open_blocks_is_bounded() -> None:
    """A provider that never ends a block can't fill the memory."""
    reader = StreamReader(MessageEvents)
    facts = read(*(block("tool_use", index, id=str(index)) for index in range(2000)), reader=reader)
    assert len(facts) == 1024
    assert reader.flaws == ["more content blocks were open than are kept; some were not recorded"]


def _delta(members: str, index: int = 0) -> bytes:
    text = f'{{"type": "content_block_delta", "index": {index}, "delta": {{"type": "thinking_delta", {members}}}}}'
    return f"event: content_block_delta\ndata: {text}\n\n".encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ('"thinking": "plain"', "plain"),
        ('"thinking": ""', ""),
        ('"thinking": "a \\"quoted\\" \\\\ word\\n\\u00e9\\ud83d\\ude00"', 'a "quoted" \\ word\né😀'),
        ('"thinking": "more", "signature": "x"', "more"),
        ('"thinking": "of", "thinking": "two"', "two"),
        ('"thinking": "\\"}}"', '"}}'),
        ('"thinking": null', ""),
        ('"thinking": "half \\ud83d"', "half ?"),
    ],
)
def test_a_piece_says_the_same_before_and_after_its_beginning_was_learned(members: str, text: str) -> None:
    """What looks like the ones before may still hold more, or less, than one text."""
    begin, learned = block("thinking"), _delta('"thinking": "first "')
    (alone,) = read(
        begin, _delta('"thinking": "x"', index=7), _delta(members), _delta('"thinking": "."'), end()
    )
    (after,) = read(begin, learned, _delta(members), _delta('"thinking": "."'), end())
    assert isinstance(alone, Thought)
    assert isinstance(after, Thought)
    assert alone.content == f"{text}."
    assert after.content == f"first {text}."


def test_what_was_learned_of_one_block_is_not_taken_for_another() -> None:
    """The index is part of the beginning."""
    one, two = (block("thinking", index=index) for index in (0, 1))
    facts = read(
        one,
        two,
        _delta('"thinking": "a"'),
        _delta('"thinking": "b"', index=1),
        _delta('"thinking": "c"'),
        _delta('"thinking": "d"', index=1),
        end(0),
        end(1),
    )
    assert [fact.content for fact in facts if isinstance(fact, Thought)] == ["ac", "bd"]
