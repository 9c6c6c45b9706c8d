"""What a request on the Messages API says."""

from __future__ import annotations

import json

import pytest

from providers.anthropic.messages import MESSAGES
from providers.base import RequestFacts, RequestRefused
from tests.providers.samples import load


def read(**members: object) -> RequestFacts:
    return MESSAGES.read_request(json.dumps({"model": "claude", **members}).encode())


def last_message(content: object, role: object = "user") -> RequestFacts:
    return read(messages=[{"role": "user", "content": "earlier"}, {"role": role, "content": content}])


def test_a_coding_agents_request_tells_model_stream_prompt_and_session() -> None:
    """The last text block is the prompt; the session stands after `_session_`."""
    assert MESSAGES.read_request(load("messages/request_prompt.json")) == RequestFacts(
        model="claude-sonnet-4-5",
        stream=True,
        prompt="Fix the naïve test, please 🙏",
        session_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    )


def test_a_turn_of_tool_results_tells_the_last_call_and_no_prompt() -> None:
    """Text within a tool result is not the user's."""
    assert MESSAGES.read_request(load("messages/request_tool_result.json")) == RequestFacts(
        model="claude-sonnet-4-5",
        correlating_tool_call_id="toolu_01B",
        session_id="5c1e",
    )


def test_text_beside_tool_results_is_a_prompt() -> None:
    """A user who interrupts a tool both answers it and asks."""
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}
    facts = last_message(
        [{"type": "text", "text": "stop"}, result, {"type": "text", "text": "go on"}, result]
    )
    assert (facts.prompt, facts.correlating_tool_call_id) == ("go on", "toolu_1")


def test_a_string_is_a_prompt() -> None:
    """Content may be a bare string."""
    assert last_message("Hello").prompt == "Hello"


def test_only_the_users_last_message_is_a_prompt() -> None:
    """A prefilled answer, or a message of another role, is none."""
    assert last_message("Sure:", role="assistant").prompt is None
    assert last_message("Sure:", role="system").prompt is None


@pytest.mark.parametrize(
    "content",
    [
        None,
        7,
        "",
        [],
        {},
        [7, None, "text"],
        [{"type": "text"}],
        [{"type": "text", "text": 7}],
        [{"text": "a"}],
    ],
)
def test_odd_content_is_no_prompt_and_no_error(content: object) -> None:
    """Whether the provider takes it is the provider's to say."""
    facts = last_message(content)
    assert (facts.prompt, facts.correlating_tool_call_id) == (None, None)


@pytest.mark.parametrize("messages", [None, 7, "text", [], {}, [None], ["text"], [[]]])
def test_odd_messages_are_no_error(messages: object) -> None:
    """The other facts are still told."""
    assert read(messages=messages, stream=True) == RequestFacts(model="claude", stream=True)


@pytest.mark.parametrize("stream", [False, None, 1, "true", [True]])
def test_only_true_asks_for_a_stream(stream: object) -> None:
    """A truthy value is not `true`."""
    assert read(stream=stream).stream is False


@pytest.mark.parametrize("model", [None, 7, ["m"], {}])
def test_a_model_that_is_no_text_is_none(model: object) -> None:
    """An odd model leaves the fact empty."""
    assert read(model=model).model == ""


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        ("user_1_account_2_session_abc", "abc"),
        ("user_1_session_2_session_ abc ", "abc"),
        ('{"session_id": "abc", "device_id": "d"}', "abc"),
        (' {"session_id": " abc "}', "abc"),
        ('{"session_id": 7}', None),
        ('{"session_id": ""}', None),
        ('{"session_id": "abc"', None),
        ("{_session_abc", None),
        ("[1]", None),
        ("user_1", None),
        ("user_session_ ", None),
        ("", None),
        (7, None),
        (None, None),
        ({"session_id": "abc"}, None),
    ],
)
def test_the_session_stands_in_the_user_id(user_id: object, session: str | None) -> None:
    """JSON with `session_id`, or the tail after the last `_session_`; trimmed, and empty is none."""
    assert read(metadata={"user_id": user_id}).session_id == session


@pytest.mark.parametrize("metadata", [None, "text", [], {}, {"user": "a_session_b"}])
def test_metadata_without_a_user_id_names_no_session(metadata: object) -> None:
    """Odd shapes are no error."""
    assert read(metadata=metadata).session_id is None


def test_of_duplicate_members_the_last_counts() -> None:
    """As in the decoders of the providers."""
    facts = MESSAGES.read_request(
        b'{"model":"a","messages":[],"model":"b","messages":[{"role":"user","content":"x"}]}'
    )
    assert (facts.model, facts.prompt) == ("b", "x")


def test_a_lone_surrogate_in_the_prompt_is_replaced() -> None:
    """The record must be text that can be stored; the request goes upstream as it is."""
    assert MESSAGES.read_request(b'{"messages":[{"role":"user","content":"a\\ud800b"}]}').prompt == "a?b"


def test_a_body_that_is_no_json_is_refused() -> None:
    """With the place where it broke."""
    with pytest.raises(RequestRefused, match="at byte 9"):
        MESSAGES.read_request(b'{"model":}')


def test_no_usage_is_asked_for_and_nothing_is_hidden() -> None:
    """Anthropic reports usage in every stream."""
    assert read(stream=True).usage_edit is None
    assert MESSAGES.usage_filter().feed(b"data: x\n\n") == b"data: x\n\n"
