"""Anthropic's whole answers, beyond the samples."""

from __future__ import annotations

import json

import pytest

from providers.anthropic.content import read_answer
from providers.base import Thought, ToolCall, Usage
from providers.documents import Unreadable


def test_odd_members_cost_only_themselves() -> None:
    """What has the expected shape is still told."""
    body = {
        "id": 7,
        "content": [
            None,
            7,
            {"type": "tool_use", "id": 7, "name": "Bash"},
            {"type": "thinking"},
            {"type": []},
        ],
        "usage": {"input_tokens": "many", "output_tokens": 3},
        "error": None,
    }
    msg_id, facts = read_answer(json.dumps(body).encode())
    assert msg_id == ""
    assert facts == [
        ToolCall(msg_id="", tool_call_id="", tool="Bash", input=""),
        Usage(msg_id="", output_tokens=3),
    ]


@pytest.mark.parametrize("thinking", ["", " \n", None, 7])
def test_empty_thinking_is_no_thought(thinking: object) -> None:
    """Models that hide their thinking send empty blocks."""
    _, facts = read_answer(json.dumps({"content": [{"type": "thinking", "thinking": thinking}]}).encode())
    assert facts == []


def test_redacted_thinking_is_not_recorded() -> None:
    """Only what the model showed."""
    blocks = [{"type": "redacted_thinking", "data": "x"}, {"type": "thinking", "thinking": "y"}]
    _, facts = read_answer(json.dumps({"content": blocks}).encode())
    assert facts == [Thought(content="y", source="thinking")]


def test_a_tool_of_a_tool_set_names_the_set() -> None:
    """The same name may be in several sets."""
    call = {"type": "tool_use", "id": "a", "name": "click", "toolset_name": "browser", "input": {}}
    _, facts = read_answer(json.dumps({"content": [call]}).encode())
    assert [fact.metadata for fact in facts if isinstance(fact, ToolCall)] == [{"toolset_name": "browser"}]


@pytest.mark.parametrize("body", [b"<html>502 Bad Gateway</html>", b'{"id":"msg_1","content":[{"ty', b"[]"])
def test_what_is_no_answer_is_unreadable(body: bytes) -> None:
    """A proxy's page, a cut answer, another kind of JSON."""
    with pytest.raises(Unreadable):
        read_answer(body)
