"""What a server of Chat completions is sent."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.chat.content import Ask, Image, Reasoning, Said, Text, ToolCall, ToolResult
from gateway.chat.models.interrupted import INTERRUPTED
from gateway.chat.routing import ModelName
from tests.answers import chat
from tests.answers.turn import ToolUse, Turn
from tests.gateway.chat.models.apis import CHAT, NAME, QUESTION, WEATHER, answer_of, assistant, heard, user
from tests.upstream import Upstream

CALL = ToolCall(call_id="call_1", name="get_weather", arguments='{"city": "Paris"}')
CALLED = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
THOUGHT = Reasoning(
    text="Hm",
    opaque='{"type": "reasoning_content", "text": "Hm"}',
    provider=NAME.provider,
    model=NAME.model,
)


def result(content: str, **more: Any) -> Said:
    return Said("tool", (ToolResult(call_id="call_1", name="get_weather", content=content, **more),))


async def conversation(*messages: Said, name: ModelName = NAME) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = (await CHAT.sent(Ask(messages=messages), name))["messages"]
    return told


async def test_a_request_in_full() -> None:
    """In the words that compatible servers know: `max_tokens`, and a prompt of the system's role."""
    ask = Ask(system="Be brief.", messages=(user("Hi"),), tools=(WEATHER,), max_output_tokens=77)
    function = {
        "name": "get_weather",
        "description": "the weather of a city",
        "parameters": WEATHER.parameters,
    }

    assert await CHAT.sent(ask) == {
        "model": "scripted-model",
        "max_tokens": 77,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": function}],
    }


async def test_what_is_empty_is_left_out() -> None:
    """Servers refuse an empty list of tools."""
    sent = await CHAT.sent(Ask(system=" ", messages=(user("Hi"),)))

    assert "tools" not in sent
    assert [message["role"] for message in sent["messages"]] == ["user"]


async def test_a_call_and_its_result() -> None:
    """Each result is a message of its own, of the tool's role."""
    second = ToolCall(call_id="call_2", name="get_weather", arguments="")
    results = (
        ToolResult(call_id="call_1", name="get_weather", content="21 degrees"),
        ToolResult(call_id="call_2", name="get_weather", content="no city", is_error=True),
    )

    assert await conversation(user("Hi"), assistant(Text("I look"), CALL, second), Said("tool", results)) == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "I look",
            "tool_calls": [
                CALLED,
                {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": "Error: no city"},
    ]


async def test_bad_arguments_of_an_earlier_call_go_back_as_json() -> None:
    """Many servers parse the text, and refuse the whole request."""
    broken = ToolCall(call_id="call_1", name="get_weather", arguments='{"city')
    told = await conversation(user("Hi"), assistant(broken), user("Well?"))

    assert told[1]["content"] is None
    assert told[1]["tool_calls"][0]["function"]["arguments"] == '{"invalid_json":"{\\"city"}'


async def test_an_interrupted_call_gets_a_result() -> None:
    """A conversation with an open call is refused."""
    told = await conversation(user("Hi"), assistant(CALL), user("Well?"))

    note = {"role": "tool", "tool_call_id": "call_1", "content": f"Error: {INTERRUPTED}"}
    assert told[2:] == [note, {"role": "user", "content": "Well?"}]


@pytest.mark.parametrize(("content", "before"), [("seen", "seen\n"), ("", "")])
async def test_a_note_stands_for_images(content: str, before: str) -> None:
    """The tool's role takes text only, and the model should know that there was more."""
    image = Image(media_type="image/png", data="aW1hZ2U=")
    told = await conversation(user("Hi"), assistant(CALL), result(content, images=(image, image)))

    note = "[2 image(s) left out: this model's API takes only text from a tool]"
    assert told[-1]["content"] == before + note


async def test_an_answer_that_said_nothing_is_left_out() -> None:
    """A message without content and calls is refused."""
    told = await conversation(user("Hi"), assistant(THOUGHT), user("Well?"))

    assert [message["role"] for message in told] == ["user", "user"]


async def test_the_beginning_of_an_answer_stays_at_the_end() -> None:
    """A list that ends with the assistant's role is no prompt."""
    assert (await conversation(user("Hi"), assistant(Text("Title:"))))[-1] == {
        "role": "assistant",
        "content": "Title:",
    }


async def test_reasoning_goes_back_within_its_turn_only() -> None:
    """Servers that send it want it until the turn has ended; older reasoning is refused by some."""
    told = await conversation(
        user("Hi"),
        assistant(THOUGHT, CALL),
        result("21 degrees"),
        user("And now?"),
        assistant(THOUGHT, CALL),
        result("22 degrees"),
    )

    assert [message.get("reasoning_content") for message in told if message["role"] == "assistant"] == [
        None,
        "Hm",
    ]


async def test_another_model_does_not_see_the_reasoning() -> None:
    """It may not know the field."""
    told = await conversation(user("Hi"), assistant(THOUGHT, CALL), name=ModelName("scripted", "another"))

    assert told[1] == {"role": "assistant", "content": None, "tool_calls": [CALLED]}


async def test_an_answer_goes_back_as_it_came() -> None:
    """Text and call of the first answer are in the second request."""
    turn = Turn(text="I look", tool=ToolUse("get_weather", '{"city":"Paris"}'))
    upstream = Upstream([CHAT.reply(turn), CHAT.reply(Turn(text="Sunny"))])
    async with CHAT.speaker(upstream) as speaker:
        first = answer_of(await heard(speaker, QUESTION))
        await heard(speaker, Ask(messages=(*QUESTION.messages, Said("assistant", first.parts))))

    said = chat.completion(turn)["choices"][0]["message"]
    assert upstream.requests[1].json["messages"][1] == {
        key: said[key] for key in ("role", "content", "tool_calls")
    }
