"""What a request on the Responses API says."""

from __future__ import annotations

import json

import pytest

from providers.base import RequestFacts, RequestRefused
from providers.openai.bonds import bond_of
from providers.openai.responses import RESPONSES
from tests.providers.samples import load


def read(**members: object) -> RequestFacts:
    return RESPONSES.read_request(json.dumps({"model": "gpt", **members}).encode())


def test_the_text_parts_of_the_users_last_message_are_the_prompt() -> None:
    """All of them, joined by a line feed; pictures are left out."""
    assert RESPONSES.read_request(load("responses/request_prompt.json")) == RequestFacts(
        model="gpt-5-codex", stream=True, prompt="<environment_context>\nFix the test"
    )


def test_an_output_of_a_call_names_it_and_is_no_prompt() -> None:
    """The last item answers the call."""
    assert RESPONSES.read_request(load("responses/request_tool_result.json")) == RequestFacts(
        model="gpt-5-codex", stream=True, correlating_tool_call_id="call_F"
    )


@pytest.mark.parametrize(
    "kind",
    ["function_call_output", "custom_tool_call_output", "local_shell_call_output", "apply_patch_call_output"],
)
def test_every_kind_of_call_can_be_answered(kind: str) -> None:
    """The client's own tools have several kinds of output items."""
    facts = read(input=[{"type": kind, "call_id": "call_1", "output": "ok"}])
    assert (facts.correlating_tool_call_id, facts.prompt) == ("call_1", None)


@pytest.mark.parametrize("kind", ["function_call", "custom_tool_call", "message", None, 7])
def test_other_items_answer_nothing(kind: object) -> None:
    """A call itself is no answer to one."""
    assert read(input=[{"type": kind, "call_id": "call_1"}]).correlating_tool_call_id is None


@pytest.mark.parametrize(
    "value",
    [
        "Hello",
        [{"role": "user", "content": "Hello"}],
        [{"type": "message", "role": "user", "content": "Hello"}],
        [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
    ],
)
def test_a_prompt_may_be_text_or_a_message_with_or_without_a_type(value: object) -> None:
    """The forms that clients use."""
    assert read(input=value).prompt == "Hello"


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        {},
        [],
        [None],
        ["Hello"],
        [{}],
        [{"role": "user"}],
        [{"role": "assistant", "content": "Hello"}],
        [{"role": "user", "type": "reasoning", "content": "Hello"}],
        [{"role": "user", "content": "Hello"}, {"role": "developer", "content": "x"}],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hello"}, 7, {"type": "input_text", "text": 7}],
            }
        ],
    ],
)
def test_other_input_is_no_prompt_and_no_error(value: object) -> None:
    """Only the user's last message, in the shapes of the API."""
    assert read(input=value) == RequestFacts(model="gpt")


def test_a_background_request_is_refused() -> None:
    """Its answer would come past the recording."""
    with pytest.raises(RequestRefused, match="not supported") as refused:
        read(background=True, input="x")
    assert refused.value.status == 501


@pytest.mark.parametrize("background", [False, None, "true", 1])
def test_only_true_is_a_background_request(background: object) -> None:
    """Anything else is the provider's to judge."""
    assert read(background=background, input="x").prompt == "x"


def encrypted(content: object) -> dict[str, object]:
    return {"type": "reasoning", "encrypted_content": content}


@pytest.mark.parametrize(
    ("members", "bond"),
    [
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, "resp_1"),
        ({"conversation": "conv_1"}, "conv_1"),
        ({"conversation": {"id": "conv_2"}}, "conv_2"),
        ({"input": [encrypted("a"), encrypted("b"), {"role": "user", "content": "x"}]}, bond_of("b")),
        ({"input": [encrypted("a"), encrypted(None)]}, bond_of("a")),
        ({"input": [{"role": "user", "content": '"encrypted_content"'}]}, None),
        ({"input": [7, encrypted(7), encrypted("")]}, None),
        ({"input": "x", "previous_response_id": 7, "conversation": {}}, None),
        ({"conversation": ["conv_1"], "previous_response_id": ""}, None),
    ],
)
def test_what_only_one_account_can_read_is_named(members: dict[str, object], bond: str | None) -> None:
    """An earlier response, a stored conversation, or the latest encrypted reasoning; odd shapes name nothing."""
    assert read(**members).bound_to == bond


def test_no_usage_is_asked_for_and_nothing_is_hidden() -> None:
    """Every answer of this API reports usage."""
    assert read(stream=True).usage_edit is None
    assert RESPONSES.usage_filter().feed(b"data: x\n\n") == b"data: x\n\n"
