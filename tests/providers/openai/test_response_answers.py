"""The Responses API's answers: what is particular beyond the samples."""

from __future__ import annotations

import json

import pytest

from providers.base import AccountBound, Fact, ProviderFailure, Thought, ToolCall, Usage
from providers.openai.response_answers import ResponseEvents, read_answer
from providers.openai.responses import RESPONSES
from providers.streaming import StreamReader


def event(type_: str, **members: object) -> bytes:
    return b"data: " + json.dumps({"type": type_, **members}, separators=(",", ":")).encode() + b"\n\n"


def done(**item: object) -> bytes:
    return event("response.output_item.done", item=item)


def read(*events: bytes, reader: StreamReader | None = None) -> list[Fact]:
    reader = reader or StreamReader(ResponseEvents)
    facts = [fact for each in events for fact in reader.feed(each)]
    return [*facts, *reader.close()]


CREATED = event("response.created", response={"id": "resp_1"})


@pytest.mark.parametrize(
    ("item", "tool", "written"),
    [
        ({"type": "function_call", "name": "shell", "arguments": "not json"}, "shell", "not json"),
        ({"type": "custom_tool_call", "name": "patch", "input": "***"}, "patch", "***"),
        ({"type": "mcp_call", "name": "ask", "arguments": "{}"}, "ask", "{}"),
        ({"type": "local_shell_call", "action": {"command": ["ls"]}}, "local_shell", '{"command":["ls"]}'),
        ({"type": "shell_call", "action": {"commands": ["ls"]}}, "shell", '{"commands":["ls"]}'),
        ({"type": "apply_patch_call", "operation": {"path": "a"}}, "apply_patch", '{"path":"a"}'),
        ({"type": "computer_call", "action": {"type": "wait"}}, "computer", '{"type":"wait"}'),
        ({"type": "computer_call", "action": None, "actions": [1]}, "computer", "[1]"),
        ({"type": "web_search_call", "action": {"query": "q"}}, "web_search", '{"query":"q"}'),
        ({"type": "file_search_call", "queries": ["q"]}, "file_search", '["q"]'),
        ({"type": "code_interpreter_call", "code": "1 + 1"}, "code_interpreter", "1 + 1"),
        ({"type": "code_interpreter_call", "code": None}, "code_interpreter", ""),
        ({"type": "image_generation_call", "result": "AAAA"}, "image_generation", ""),
        ({"type": "tool_search_call", "arguments": {"q": 1.0}}, "tool_search", '{"q":1.0}'),
    ],
)
def test_each_kind_of_call_is_told(item: dict[str, object], tool: str, written: str) -> None:
    """The client's tools by their name, the provider's own by the type of the call, with what they were given."""
    (fact,) = read(CREATED, done(id="item_1", call_id="call_1", **item))
    assert isinstance(fact, ToolCall)
    assert (fact.msg_id, fact.tool_call_id, fact.tool, fact.input) == ("resp_1", "call_1", tool, written)


def test_a_call_without_a_call_id_has_its_items_id() -> None:
    """The provider's own tools have no other."""
    (fact,) = read(done(type="web_search_call", id="ws_1", action={}))
    assert isinstance(fact, ToolCall)
    assert fact.tool_call_id == "ws_1"


@pytest.mark.parametrize("error", ["refused", {"type": "http_error", "code": 500}])
def test_an_mcp_call_tells_its_server_and_its_error(error: object) -> None:
    """The error is text, or an object as it stands."""
    (fact,) = read(done(type="mcp_call", id="m", name="ask", server_label="wiki", error=error))
    assert isinstance(fact, ToolCall)
    assert fact.metadata["server_label"] == "wiki"
    assert fact.invocation_error == (error if isinstance(error, str) else '{"type":"http_error","code":500}')


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "message", "phase": "final_answer", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": ["gAAA"]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": " "}], "content": [{"text": "x"}]},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
        {"type": "future_call", "call_id": "c"},
        {"type": ["function_call"]},
        {},
    ],
)
def test_other_items_tell_nothing(item: dict[str, object]) -> None:
    """Model text, reasoning without a text and unknown items are not recorded."""
    assert read(done(**item)) == []


def test_encrypted_reasoning_is_told_as_bound_to_its_account() -> None:
    """By a name of its content: a request that sends it back has the same one."""
    encrypted = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    bond = RESPONSES.read_request(json.dumps({"input": [encrypted]}).encode()).bound_to
    assert bond is not None
    assert read(done(**encrypted)) == [AccountBound(bond=bond)]


def test_thoughts_are_told_part_by_part() -> None:
    """A summary's parts, and commentary by its phase."""
    facts = read(
        done(type="reasoning", summary=[{"text": "a"}, {"text": ""}, None, {"text": "b"}]),
        done(type="message", phase="commentary", content=[{"type": "output_text", "text": "c"}]),
    )
    assert facts == [
        Thought(content="a", source="reasoning_summary"),
        Thought(content="b", source="reasoning_summary"),
        Thought(content="c", source="commentary"),
    ]


def test_items_of_the_last_event_are_told_when_none_came_before() -> None:
    """Some providers send no item events."""
    call = {"type": "function_call", "call_id": "c", "name": "shell", "arguments": "{}"}
    completed = event("response.completed", response={"id": "resp_1", "output": [call]})
    assert len(read(CREATED, completed)) == 1
    assert len(read(CREATED, done(**call), completed)) == 1


def test_the_end_is_told_once() -> None:
    """Usage is not doubled by a provider that ends twice."""
    completed = event("response.completed", response={"id": "resp_1", "usage": {"input_tokens": 3}})
    assert read(CREATED, completed, completed) == [Usage(msg_id="resp_1", input_tokens=3)]


def test_the_response_id_is_known_without_a_first_event() -> None:
    """The last event has it too."""
    reader = StreamReader(ResponseEvents)
    read(event("response.completed", response={"id": "resp_1"}), reader=reader)
    assert reader.msg_id == "resp_1"


def test_types_are_found_wherever_they_stand() -> None:
    """The fast test needs the type in front; when it isn't, the event is decoded."""
    call = {"type": "function_call", "call_id": "c", "name": "shell", "arguments": "{}"}
    late = json.dumps({"sequence_number": 1, "item": call, "type": "response.output_item.done"}).encode()
    assert len(read(b"data: " + late + b"\n\n")) == 1


def test_many_unknown_types_are_passed_over() -> None:
    """What is learned is bounded, and what comes after it is still read."""
    unknown = [event(f"response.future_{chr(97 + n)}.delta", delta="x") for n in range(26)]
    facts = read(CREATED, *unknown, *unknown, done(type="function_call", call_id="c", arguments="{}"))
    assert len(facts) == 1


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"code": "c", "message": "m"}, ProviderFailure(type="c", message="m")),
        ({"error": {"type": "t", "message": "m"}}, ProviderFailure(type="t", message="m")),
        ({}, ProviderFailure(type="error", message="")),
    ],
)
def test_an_error_event_is_a_failure(members: dict[str, object], expected: ProviderFailure) -> None:
    """Flat as documented, or nested as some send it."""
    assert read(CREATED, event("error", **members)) == [expected]


def test_a_broken_event_is_a_flaw_and_reading_goes_on() -> None:
    """One bad event costs one event."""
    reader = StreamReader(ResponseEvents)
    completed = event("response.completed", response={"usage": {"input_tokens": 3}})
    assert len(read(CREATED, b"data: {broken\n\n", completed, b"data: [DONE]\n\n", reader=reader)) == 1
    assert len(reader.flaws) == 1


def test_chatgpts_error_bodies_are_failures() -> None:
    """Its backend says `detail`."""
    _, facts = read_answer(b'{"detail":"Unauthorized"}')
    assert list(facts) == [ProviderFailure(type="error", message="Unauthorized")]
