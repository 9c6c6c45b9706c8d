"""What Anthropic is sent: the conversation in its blocks, and nothing that it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.chat.content import Ask, Image, Part, Reasoning, Said, Text, ToolCall, ToolResult
from gateway.chat.models.interrupted import INTERRUPTED
from gateway.chat.models.messages_reader import MessageReader
from gateway.chat.routing import ModelName
from tests.answers import anthropic
from tests.answers.turn import ToolUse, Turn
from tests.gateway.chat.models.apis import (
    BEDROCK,
    MESSAGES,
    NAME,
    QUESTION,
    WEATHER,
    answer_of,
    assistant,
    heard,
    user,
)
from tests.upstream import Upstream

CACHED = {"cache_control": {"type": "ephemeral"}}
CALL = ToolCall(call_id="toolu_1", name="get_weather", arguments='{"city": "Paris"}')


def thought(block: str, *, model: str = NAME.model, provider: str = NAME.provider) -> Reasoning:
    return Reasoning(text="Let me see", opaque=block, provider=provider, model=model)


SIGNED = thought('{"type": "thinking", "thinking": "Let me see", "signature": "c2lnbmVk"}')


async def conversation(*messages: Said) -> list[dict[str, Any]]:
    """The messages as they arrive, without the marks for the cache."""
    told: list[dict[str, Any]] = (await MESSAGES.sent(Ask(messages=messages)))["messages"]
    for block in told[-1]["content"] + told[0]["content"]:
        block.pop("cache_control", None)
    return told


async def test_a_request_in_full() -> None:
    """Model, limit, prompt and tools, in the fields of the API, and nothing beside them."""
    ask = Ask(system="Be brief.", messages=(user("Hi"),), tools=(WEATHER,), max_output_tokens=77)

    assert await MESSAGES.sent(ask) == {
        "model": "scripted-model",
        "max_tokens": 77,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief.", **CACHED}],
        "tools": [
            {
                "name": "get_weather",
                "description": "the weather of a city",
                "input_schema": WEATHER.parameters,
                **CACHED,
            }
        ],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", **CACHED}]}],
    }


async def test_what_is_empty_is_left_out() -> None:
    """The API refuses an empty system prompt and an empty list of tools."""
    sent = await MESSAGES.sent(Ask(system="  ", messages=(user("Hi"),)))

    assert "system" not in sent
    assert "tools" not in sent


async def test_bedrock_is_sent_the_same_without_what_stands_in_its_path() -> None:
    """One translation serves both."""
    direct = await MESSAGES.sent(QUESTION)
    sent = await BEDROCK.sent(QUESTION)

    assert sent.pop("anthropic_version")
    assert sent == {key: value for key, value in direct.items() if key not in ("model", "stream")}


async def test_messages_of_one_role_become_one() -> None:
    """Roles must take turns, and a tool's result is the user's: what was said meanwhile stands behind it."""
    result = ToolResult(call_id="toolu_1", name="get_weather", content="21 degrees")

    assert await conversation(
        user("One"), user("Two"), assistant(CALL), Said("tool", (result,)), user("Hurry")
    ) == [
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [{"type": "text", "text": "21 degrees"}],
                },
                {"type": "text", "text": "Hurry"},
            ],
        },
    ]


async def test_only_the_last_user_block_is_a_place_to_cache_up_to() -> None:
    """The API takes four such marks: one here, one for the system prompt, one for the tools."""
    sent = await MESSAGES.sent(Ask(messages=(user("One"), assistant(Text("Two")), user("Three"), user("4"))))

    marked = [
        block["text"]
        for message in sent["messages"]
        for block in message["content"]
        if "cache_control" in block
    ]
    assert marked == ["4"]


async def test_a_failed_tool_and_its_images_are_told() -> None:
    """The model sees what the tool saw, and that it went wrong."""
    result = ToolResult(
        call_id="toolu_1",
        name="get_weather",
        content="half of it",
        is_error=True,
        images=(Image(media_type="image/png", data="aW1hZ2U="),),
    )
    told = await conversation(user("Hi"), assistant(CALL), Said("tool", (result,)))

    source = {"type": "base64", "media_type": "image/png", "data": "aW1hZ2U="}
    assert told[-1]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "half of it"}, {"type": "image", "source": source}],
            "is_error": True,
        }
    ]


async def test_a_tool_that_says_nothing_has_no_text_block() -> None:
    """An empty text block is refused."""
    result = ToolResult(call_id="toolu_1", name="get_weather", content="")
    told = await conversation(user("Hi"), assistant(CALL), Said("tool", (result,)))

    assert told[-1]["content"][0]["content"] == []


async def test_blank_texts_and_messages_are_left_out() -> None:
    """The API refuses both."""
    assert await conversation(user("Hi"), assistant(Text(" \n")), user(""), user("Well?")) == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "Well?"}]}
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), ('{"city": "Par', {"invalid_json": '{"city": "Par'}), ("[1]", {"invalid_json": "[1]"})],
)
async def test_bad_arguments_of_an_earlier_call_do_not_break_the_next_request(
    arguments: str, expected: dict[str, str]
) -> None:
    """`input` must be an object, whatever the model wrote."""
    call = ToolCall(call_id="toolu_1", name="get_weather", arguments=arguments)
    told = await conversation(user("Hi"), assistant(call), user("Well?"))

    assert told[1]["content"][0]["input"] == expected


async def test_an_interrupted_call_gets_a_result() -> None:
    """A conversation with an open call is refused."""
    told = await conversation(user("Hi"), assistant(CALL), user("Well?"))

    result, text = told[-1]["content"]
    assert (result["tool_use_id"], result["is_error"]) == ("toolu_1", True)
    assert result["content"] == [{"type": "text", "text": INTERRUPTED}]
    assert text == {"type": "text", "text": "Well?"}


async def test_an_id_of_another_vendor_is_put_into_the_characters_that_are_taken() -> None:
    """The model of a chat may change after a call; the call and its result still belong together."""
    call = ToolCall(call_id="functions.f:0", name="f", arguments="{}")
    result = ToolResult(call_id="functions.f:0", name="f", content="done")
    told = await conversation(user("Hi"), assistant(call), Said("tool", (result,)))

    assert told[1]["content"][0]["id"] == "functions_f_0"
    assert told[2]["content"][0]["tool_use_id"] == "functions_f_0"


async def test_the_beginning_of_an_answer_is_sent_without_space_at_its_end() -> None:
    """A list that ends with the assistant's role is no prompt; the API refuses whitespace at its end."""
    told = await conversation(user("Hi"), assistant(Text("Title: ")))

    assert told[-1] == {"role": "assistant", "content": [{"type": "text", "text": "Title:"}]}


async def test_reasoning_goes_back_to_the_model_that_thought_it() -> None:
    """With its signature, letter by letter: a provider checks it."""
    redacted = thought('{"type": "redacted_thinking", "data": "c2VhbGVk"}')
    told = await conversation(user("Hi"), assistant(SIGNED, redacted, CALL))

    assert told[1]["content"][:2] == [
        {"type": "thinking", "thinking": "Let me see", "signature": "c2lnbmVk"},
        {"type": "redacted_thinking", "data": "c2VhbGVk"},
    ]


@pytest.mark.parametrize(
    "part",
    [
        thought(SIGNED.opaque, model="another-model"),
        thought(SIGNED.opaque, provider="another-provider"),
        thought(""),
        thought("{broken"),
        thought('{"type": "reasoning", "encrypted_content": "b3RoZXI="}'),
    ],
    ids=["model", "provider", "unsigned", "broken", "another format"],
)
async def test_reasoning_that_the_model_cannot_read_is_left_out(part: Part) -> None:
    """It would be refused, and break each request that follows."""
    told = await conversation(user("Hi"), assistant(part, Text("Sunny")), user("Thanks"))

    assert told[1]["content"] == [{"type": "text", "text": "Sunny"}]


async def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    """An answer that was cut while the model thought may not end in thinking."""
    told = await conversation(user("Hi"), assistant(Text("Well"), SIGNED), user("Go on"))

    assert told[1]["content"] == [{"type": "text", "text": "Well"}]


async def test_an_answer_goes_back_as_it_came() -> None:
    """Thinking, text and call of the first answer are in the second request, in order."""
    turn = Turn(thought="Let me see", text="I look", tool=ToolUse("get_weather", '{"city":"Paris"}'))
    upstream = Upstream([MESSAGES.reply(turn), MESSAGES.reply(Turn(text="Sunny"))])
    async with MESSAGES.speaker(upstream) as speaker:
        first = answer_of(await heard(speaker, QUESTION))
        await heard(speaker, Ask(messages=(*QUESTION.messages, Said("assistant", first.parts))))

    assert upstream.requests[1].json["messages"][1]["content"] == anthropic.message(turn)["content"]


async def test_another_model_of_the_provider_does_not_see_the_thinking() -> None:
    """Changing the model of a chat must not break it."""
    messages = (user("Hi"), assistant(SIGNED, Text("Sunny")), user("Thanks"))
    sent = await MESSAGES.sent(Ask(messages=messages), ModelName(NAME.provider, "another-model"))

    assert sent["messages"][1]["content"] == [{"type": "text", "text": "Sunny"}]


def test_a_reader_that_was_told_nothing_has_no_answer() -> None:
    """Nothing is no empty answer."""
    assert MessageReader(NAME).answer() is None
