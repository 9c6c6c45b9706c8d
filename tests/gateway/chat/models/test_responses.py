"""What OpenAI's Responses is sent: everything, with each request."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.chat.content import Ask, Image, Part, Reasoning, Said, Text, ToolCall, ToolResult
from gateway.chat.models.interrupted import INTERRUPTED
from gateway.chat.routing import ModelName
from tests.gateway.chat.models.apis import NAME, RESPONSES, WEATHER, assistant, user

CALL = ToolCall(call_id="call_1", name="get_weather", arguments='{"city": "Paris"}')
CALLED = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"city": "Paris"}',
}
ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}
SEALED = '{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}'


def thought(opaque: str, *, provider: str = NAME.provider, model: str = NAME.model) -> Reasoning:
    return Reasoning(text="", opaque=opaque, provider=provider, model=model)


def said(role: str, text: str) -> dict[str, str]:
    return {"type": "message", "role": role, "content": text}


def result(content: str, **more: Any) -> Said:
    return Said("tool", (ToolResult(call_id="call_1", name="get_weather", content=content, **more),))


async def items(*messages: Said) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = (await RESPONSES.sent(Ask(messages=messages)))["input"]
    return sent


async def test_a_request_in_full() -> None:
    """Nothing is stored at the provider, so reasoning comes encrypted."""
    ask = Ask(system="Be brief.", messages=(user("Hi"),), tools=(WEATHER,), max_output_tokens=77)

    assert await RESPONSES.sent(ask) == {
        "model": "scripted-model",
        "max_output_tokens": 77,
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "instructions": "Be brief.",
        "input": [said("user", "Hi")],
        "tools": [
            {
                "type": "function",
                "name": "get_weather",
                "description": "the weather of a city",
                "parameters": WEATHER.parameters,
                "strict": False,
            }
        ],
    }


async def test_what_is_empty_is_left_out() -> None:
    """No instructions and no tools are no fields."""
    assert await RESPONSES.sent(Ask(messages=(user("Hi"),))) == {
        "model": "scripted-model",
        "max_output_tokens": 16384,
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "input": [said("user", "Hi")],
    }


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gpt-4o-mini", False),
        ("gpt-4.1", False),
        ("gpt-5-chat-latest", False),
        ("gpt-5-mini", True),
        ("o4-mini", True),
    ],
)
async def test_a_model_that_does_not_reason_is_not_asked_for_its_reasoning(model: str, asked: bool) -> None:
    """It would refuse the request."""
    sent = await RESPONSES.sent(Ask(messages=(user("Hi"),)), ModelName("scripted", model))

    assert ("include" in sent) is asked


async def test_a_conversation_in_items() -> None:
    """Each part is an item, in order."""
    messages = (user("Hi"), assistant(thought(SEALED), Text("I look"), CALL), result("21 degrees"))

    assert await items(*messages, assistant(Text("Sunny"))) == [
        said("user", "Hi"),
        ITEM,
        said("assistant", "I look"),
        CALLED,
        {"type": "function_call_output", "call_id": "call_1", "output": "21 degrees"},
        said("assistant", "Sunny"),
    ]


async def test_an_interrupted_call_gets_a_result() -> None:
    """A conversation with an open call is refused; that it failed is said in the text."""
    output = {"type": "function_call_output", "call_id": "call_1", "output": f"Error: {INTERRUPTED}"}

    assert await items(assistant(CALL), user("Well?")) == [CALLED, output, said("user", "Well?")]


@pytest.mark.parametrize(("content", "text"), [("seen", [{"type": "input_text", "text": "seen"}]), ("", [])])
async def test_images_of_a_tool_are_shown(content: str, text: list[dict[str, str]]) -> None:
    """As data within the request: nothing is stored elsewhere."""
    image = Image(media_type="image/png", data="aW1hZ2U=")
    sent = await items(assistant(CALL), result(content, images=(image,)))

    assert sent[-1]["output"] == [
        *text,
        {"type": "input_image", "image_url": "data:image/png;base64,aW1hZ2U=", "detail": "auto"},
    ]


async def test_bad_arguments_of_an_earlier_call_go_back_as_json() -> None:
    """A bad call must not break the requests behind it."""
    broken = ToolCall(call_id="call_1", name="get_weather", arguments='{"city')

    assert (await items(assistant(broken)))[0]["arguments"] == '{"invalid_json":"{\\"city"}'


@pytest.mark.parametrize(
    "part",
    [
        thought(SEALED, model="another-model"),
        thought(SEALED, provider="another-provider"),
        thought(""),
        thought('{"type": "thinking", "thinking": "", "signature": "b3RoZXI="}'),
    ],
    ids=["model", "provider", "unsealed", "another format"],
)
async def test_reasoning_that_the_model_cannot_read_is_left_out(part: Part) -> None:
    """It couldn't be decrypted, and the request would be refused."""
    assert await items(assistant(part, Text("Sunny"))) == [said("assistant", "Sunny")]


async def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    """The API wants to see what came behind it."""
    assert await items(assistant(thought(SEALED)), user("Go on")) == [said("user", "Go on")]
