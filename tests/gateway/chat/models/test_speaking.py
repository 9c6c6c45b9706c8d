"""What holds whatever the format, through the vendors' SDKs: how an answer comes, how it breaks and how it's ended."""

from __future__ import annotations

import asyncio

import pytest

from gateway.chat.content import (
    Answer,
    AnswerEvent,
    Ask,
    ModelError,
    Reasoning,
    ReasoningDelta,
    Said,
    Speaker,
    Text,
    TextDelta,
    Tokens,
    ToolCall,
    ToolResult,
)
from tests.answers.agent import has_tool_result
from tests.answers.turn import ToolUse, Turn
from tests.gateway.chat.models.apis import (
    ALL,
    CHAT,
    MESSAGES,
    QUESTION,
    RESPONSES,
    Api,
    answer_of,
    heard,
    user,
)
from tests.upstream import CUT, Reply, Upstream
from tests.waiting import PATIENCE_S

CALL = ToolUse("get_weather", '{"city": "Paris"}')

every_api = pytest.mark.parametrize("api", ALL, ids=lambda api: api.id)


async def failure(api: Api, reply: Reply) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await api.ask(reply, QUESTION)
    return caught.value


@every_api
async def test_text_comes_piece_by_piece_and_whole_at_the_end(api: Api) -> None:
    """Each piece is told when it comes; the answer holds all of them, once, and nothing comes behind it."""
    _, events = await api.ask(api.reply(Turn(text="It is sunny")), QUESTION)

    assert events[:-1] == [TextDelta("It "), TextDelta("is "), TextDelta("sunny")]
    assert answer_of(events).parts == (Text("It is sunny"),)
    assert answer_of(events).stop == "end"


@every_api
async def test_a_delta_is_told_before_the_next_one_comes(api: Api) -> None:
    """Nothing is held back until the provider has said more."""
    gate = asyncio.Event()
    before, after = api.split(Turn(text="It is"), "It ")
    upstream = Upstream(api.stream([*before, gate, *after]))

    async with api.speaker(upstream) as speaker:
        stream = speaker.stream(QUESTION)
        async with asyncio.timeout(PATIENCE_S):
            assert await anext(stream) == TextDelta("It ")
        gate.set()
        assert answer_of([event async for event in stream]).parts == (Text("It is"),)


@every_api
async def test_a_call_keeps_the_vendors_id_and_the_text_of_its_arguments(api: Api) -> None:
    """The model's JSON isn't parsed and written anew on the way."""
    answer = await api.answer(api.reply(Turn(text="I look", tool=CALL)))

    call = ToolCall(call_id="call_scripted_1", name="get_weather", arguments='{"city": "Paris"}')
    assert answer.parts == (Text("I look"), call)
    assert answer.stop == "tools"


@every_api
async def test_cached_tokens_are_not_counted_as_input(api: Api) -> None:
    """Input is what had to be read anew, though vendors count differently."""
    turn = Turn(text="Hello", input_tokens=70, cached_tokens=30, output_tokens=5)
    answer = await api.answer(api.reply(turn))

    assert answer.tokens == Tokens(input=70, output=5, cached=30)


@every_api
async def test_an_empty_answer_is_an_answer(api: Api) -> None:
    """A model may say nothing at all, and then there is no empty part."""
    _, events = await api.ask(api.reply(Turn()), QUESTION)

    assert len(events) == 1
    assert answer_of(events).parts == ()


@every_api
async def test_what_is_unknown_is_ignored(api: Api) -> None:
    """A new kind of event, block or delta changes nothing of the answer."""
    before, after = api.split(Turn(text="It is sunny"), "is ")
    answer = await api.answer(api.stream([*before, *api.unknown, *after]))

    assert answer.parts == (Text("It is sunny"),)


@pytest.mark.parametrize("api", [MESSAGES, RESPONSES], ids=lambda api: api.id)
async def test_reasoning_is_told_and_kept_apart_from_the_text(api: Api) -> None:
    """What a model thinks is neither lost nor read aloud."""
    _, events = await api.ask(api.reply(Turn(thought="Let me see", text="Sunny")), QUESTION)

    thoughts = [event.text for event in events if isinstance(event, ReasoningDelta)]
    reasoning, text = answer_of(events).parts
    assert "".join(thoughts) == "Let me see"
    assert isinstance(reasoning, Reasoning)
    assert (reasoning.text, reasoning.provider, reasoning.model) == (
        "Let me see",
        "scripted",
        "scripted-model",
    )
    assert text == Text("Sunny")


@every_api
async def test_the_request_goes_to_the_formats_own_path(api: Api) -> None:
    """Each vendor is asked where it listens."""
    upstream = Upstream(api.reply(Turn(text="Hello")))
    async with api.speaker(upstream) as speaker:
        await heard(speaker, QUESTION)

    assert upstream.requests[0].path == api.path


@every_api
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
async def test_a_refusal_comes_with_its_status_and_the_providers_words(api: Api, status: int) -> None:
    """The service decides by the status, and the person reads the sentence."""
    error = await failure(api, api.error(status, "The model is not in the mood."))

    assert (str(error), error.status) == ("The model is not in the mood.", status)


@every_api
async def test_a_refusal_that_is_no_json_gets_our_own_words(api: Api) -> None:
    """A proxy's page of HTML is no text for a person."""
    error = await failure(api, Reply(502, [(b"content-type", b"text/html")], [b"<html>nginx</html>"]))

    assert (str(error), error.status) == ("scripted answered with HTTP 502.", 502)


@every_api
async def test_an_error_in_mid_stream_is_told(api: Api) -> None:
    """It comes behind a status that said that all was well, so it has none."""
    pieces = api.events(Turn(text="It is sunny"))[:2]
    error = await failure(api, api.stream([*pieces, api.broken_off("Too much to do")]))

    assert (str(error), error.status) == ("Too much to do", 0)


@every_api
async def test_a_cut_stream_is_an_error(api: Api) -> None:
    """Half an answer must not pass for a whole one."""
    error = await failure(api, api.stream([*api.events(Turn(text="It is sunny"))[:2], CUT]))

    assert (str(error), error.status) == ("The connection to scripted failed or broke off.", 0)


@every_api
async def test_a_stream_without_its_end_event_is_an_error(api: Api) -> None:
    """Also when the connection ended in good order."""
    error = await failure(api, api.stream(api.events(Turn(text="It is sunny"))[: api.end_at]))

    assert (str(error), error.status) == ("The answer of scripted ended before it was complete.", 0)


@every_api
async def test_no_connection_is_an_error(api: Api) -> None:
    """Where nobody listens, there is no status."""

    async def nobody(*_: object) -> None:
        raise OSError("unreachable: sk-fake-nothing-to-show")

    async with api.speaker(nobody) as speaker:
        with pytest.raises(ModelError) as caught:
            await heard(speaker, QUESTION)

    assert (str(caught.value), caught.value.status) == ("The connection to scripted failed or broke off.", 0)


@pytest.mark.parametrize("api", [MESSAGES, CHAT, RESPONSES], ids=lambda api: api.id)
@pytest.mark.parametrize("data", ["{broken", "[]", "5", '"text"', "null", '{"choices": 5, "type": 5}'])
async def test_data_of_another_shape_ends_in_a_model_error_or_nothing(api: Api, data: str) -> None:
    """Whatever a server sends, no other error reaches the turn."""
    odd = f"event: message_start\ndata: {data}\n\n".encode()
    error = await failure(api, api.stream([odd]))

    assert error.status == 0
    assert "scripted" in str(error)


@every_api
async def test_half_a_character_is_an_error(api: Api) -> None:
    """It could be neither kept nor sent on."""
    error = await failure(api, api.reply(Turn(text="\ud83d")))

    assert str(error) == "scripted answered with something that can't be read."


async def test_a_broken_frame_of_bedrock_is_an_error() -> None:
    """Its checksum says that it isn't what was sent."""
    api = next(api for api in ALL if api.id == "bedrock")
    piece = bytearray(api.events(Turn(text="Hello"))[0])
    piece[-1] ^= 0xFF

    error = await failure(api, api.stream([bytes(piece)]))

    assert str(error) == "scripted answered with something that can't be read."


@every_api
async def test_closing_the_stream_hangs_up(api: Api) -> None:
    """Nobody pays for an answer that nobody reads."""
    upstream = _endless(api)
    async with api.speaker(upstream) as speaker:
        events = speaker.stream(QUESTION)
        await anext(events)
        await events.aclose()

        await _hung_up(upstream)


@every_api
async def test_cancelling_the_reader_hangs_up(api: Api) -> None:
    """A turn that is stopped stops the model."""
    upstream = _endless(api)
    begun = asyncio.Event()
    events: list[AnswerEvent] = []

    async def read(speaker: Speaker) -> None:
        async for event in speaker.stream(QUESTION):
            events.append(event)
            begun.set()

    async with api.speaker(upstream) as speaker:
        reading = asyncio.create_task(read(speaker))
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        await _hung_up(upstream)
    assert not any(isinstance(event, Answer) for event in events)


@every_api
async def test_a_tool_call_and_its_answer_go_back_as_they_came(api: Api) -> None:
    """The next request of the turn is one that the provider takes: its own parts, and what came of them."""
    upstream = Upstream([api.reply(Turn(text="I look", tool=CALL)), api.reply(Turn(text="Sunny"))])
    async with api.speaker(upstream) as speaker:
        first = answer_of(await heard(speaker, QUESTION))
        result = ToolResult(call_id="call_scripted_1", name="get_weather", content="21 degrees")
        messages = (*QUESTION.messages, Said("assistant", first.parts), Said("tool", (result,)))
        second = answer_of(await heard(speaker, Ask(messages=messages, tools=QUESTION.tools)))

    assert has_tool_result(upstream.requests[1].json, "call_scripted_1")
    assert second.parts == (Text("Sunny"),)


@every_api
async def test_two_calls_share_nothing(api: Api) -> None:
    """A speaker may be asked again, and at the same time."""
    upstream = Upstream([api.reply(Turn(text="One")), api.reply(Turn(text="Two"))])
    async with api.speaker(upstream) as speaker:
        answers = await asyncio.gather(
            *(heard(speaker, Ask(messages=(user(text),))) for text in ("first", "second"))
        )

    assert {answer_of(events).parts for events in answers} == {(Text("One"),), (Text("Two"),)}


def _endless(api: Api) -> Upstream:
    """A provider that says one word and then nothing more."""
    return Upstream(api.stream([*api.split(Turn(text="It is sunny"), "It ")[0], asyncio.Event()]))


async def _hung_up(upstream: Upstream) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await upstream.requests[0].disconnected.wait()
