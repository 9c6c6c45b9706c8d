"""What a request on Chat completions says."""

from __future__ import annotations

import json

import pytest

from providers.base import RequestFacts, RequestRefused, apply_edits
from providers.openai.chat import CHAT_COMPLETIONS
from tests.providers.samples import load


def read(**members: object) -> RequestFacts:
    return CHAT_COMPLETIONS.read_request(json.dumps({"model": "gpt", **members}).encode())


def test_the_last_text_part_of_the_users_message_is_the_prompt() -> None:
    """Pictures and earlier parts are not."""
    facts = CHAT_COMPLETIONS.read_request(load("chat_completions/request_prompt.json"))
    assert (facts.model, facts.stream, facts.prompt) == ("gpt-4.1", True, "What is in the picture?")
    assert facts.correlating_tool_call_id is None


def test_a_tools_answer_names_the_call_and_is_no_prompt() -> None:
    """The last message's role is `tool`."""
    assert CHAT_COMPLETIONS.read_request(load("chat_completions/request_tool_result.json")) == RequestFacts(
        model="gpt-4.1", stream=True, correlating_tool_call_id="call_A"
    )


@pytest.mark.parametrize("role", ["assistant", "system", "developer", "function", None, 7])
def test_messages_of_other_roles_are_neither(role: object) -> None:
    """Only `user` asks, only `tool` answers."""
    facts = read(messages=[{"role": role, "content": "x", "tool_call_id": "call_A"}])
    assert (facts.prompt, facts.correlating_tool_call_id) == (None, None)


ODD_PARTS = [[], 7, {"text": "a"}]


@pytest.mark.parametrize(
    "messages", [None, 7, "text", [], [7], [{}], [{"role": "user", "content": ODD_PARTS}]]
)
def test_odd_messages_are_no_error(messages: object) -> None:
    """The other facts are still told."""
    assert read(messages=messages) == RequestFacts(model="gpt")


def test_a_streamed_request_without_usage_gets_the_edit() -> None:
    """The edited body is the same document, and asks."""
    body = load("chat_completions/request_prompt.json")
    edit = CHAT_COMPLETIONS.read_request(body).usage_edit
    assert edit is not None
    edited = json.loads(apply_edits(body, [edit]))
    assert edited.pop("stream_options") == {"include_usage": True}
    assert edited == json.loads(body)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"stream": False},
        {"stream": None},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": "odd"},
        {"stream": True, "stream_options": {"include_usage": "odd"}},
    ],
)
def test_other_requests_are_left_alone(members: dict[str, object]) -> None:
    """Not streamed, asked already, or of a shape that only the provider can judge."""
    assert read(**members).usage_edit is None


def test_a_body_that_is_no_json_is_refused() -> None:
    """With the place where it broke."""
    with pytest.raises(RequestRefused, match="at byte 9"):
        CHAT_COMPLETIONS.read_request(b'{"model":}')


def test_the_extra_chunk_can_be_hidden() -> None:
    """The filter of this API takes the usage chunk out."""
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
    stream = CHAT_COMPLETIONS.usage_filter()
    assert stream.feed(usage + b"data: [DONE]\n\n") == b"data: [DONE]\n\n"
