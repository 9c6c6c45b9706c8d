"""How the events of Responses become an answer."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.chat.content import ModelError, Reasoning, ReasoningDelta, Text, TextDelta, Tokens, ToolCall
from tests.answers.turn import named_event
from tests.gateway.chat.models.apis import NAME, QUESTION, RESPONSES, answer_of
from tests.upstream import Reply


def done(**item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": 0, "item": item}


def ended(status: str = "completed", **response: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"id": "resp_1", "status": status, **response}}


def stream(*events: dict[str, Any]) -> Reply:
    return RESPONSES.stream([named_event({**event, "sequence_number": n}) for n, event in enumerate(events)])


async def test_encrypted_reasoning_is_kept_as_it_goes_back() -> None:
    """Without the status, which the API gives and doesn't take."""
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}],
        "encrypted_content": "c2VhbGVk",
        "status": "completed",
    }
    (reasoning,) = (await RESPONSES.answer(stream(done(**item), ended()))).parts

    assert reasoning == Reasoning(
        text="One\n\nTwo",
        opaque='{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"One"},'
        '{"type":"summary_text","text":"Two"}],"encrypted_content":"c2VhbGVk"}',
        provider=NAME.provider,
        model=NAME.model,
    )


async def test_reasoning_that_is_not_encrypted_is_not_to_go_back() -> None:
    """Its ID would be looked up where nothing is stored; its text may be read."""
    item = {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "Hm"}]}
    (reasoning,) = (await RESPONSES.answer(stream(done(**item), ended()))).parts

    assert isinstance(reasoning, Reasoning)
    assert (reasoning.text, reasoning.opaque) == ("Hm", "")


async def test_empty_reasoning_is_no_part() -> None:
    """There is nothing in it, for anybody."""
    answer = await RESPONSES.answer(stream(done(type="reasoning", id="rs_1", summary=[]), ended()))

    assert answer.parts == ()


async def test_parts_of_a_summary_are_told_apart() -> None:
    """What is told piece by piece reads as the whole does."""
    added = {"type": "response.reasoning_summary_part.added", "item_id": "rs_1", "output_index": 0}
    delta = {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0}
    reply = stream(
        {**added, "summary_index": 0},
        {**delta, "summary_index": 0, "delta": "One"},
        {**added, "summary_index": 1},
        {**delta, "summary_index": 1, "delta": "Two"},
        ended(),
    )
    _, events = await RESPONSES.ask(reply, QUESTION)

    assert events[:-1] == [ReasoningDelta("One"), ReasoningDelta("\n\n"), ReasoningDelta("Two")]


async def test_a_refusal_is_text_and_a_reason() -> None:
    """A person should read why."""
    content = [{"type": "refusal", "refusal": "I can't"}]
    reply = stream(
        {"type": "response.refusal.delta", "delta": "I can't", "item_id": "msg_1", "output_index": 0},
        done(type="message", id="msg_1", role="assistant", content=content),
        ended(),
    )
    _, events = await RESPONSES.ask(reply, QUESTION)

    answer = answer_of(events)
    assert events[:-1] == [TextDelta("I can't")]
    assert (answer.parts, answer.stop) == ((Text("I can't"),), "refusal")


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "refusal"),
        (None, "length"),
    ],
)
async def test_an_incomplete_answer_says_why(reason: dict[str, str] | None, stop: str) -> None:
    """What was said until then is kept."""
    message = done(
        type="message", id="msg_1", role="assistant", content=[{"type": "output_text", "text": "It"}]
    )
    answer = await RESPONSES.answer(stream(message, ended("incomplete", incomplete_details=reason)))

    assert (answer.parts, answer.stop) == ((Text("It"),), stop)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"code": "server_error", "message": "Something burns"}, "Something burns"),
        (None, "scripted broke off its answer."),
    ],
)
async def test_a_failed_answer_is_an_error(error: dict[str, str] | None, told: str) -> None:
    """In the provider's words, where it has some."""
    with pytest.raises(ModelError) as caught:
        await RESPONSES.ask(stream(ended("failed", error=error)), QUESTION)

    assert (str(caught.value), caught.value.status) == (told, 0)


async def test_a_call_without_arguments_has_an_empty_object() -> None:
    """So that what goes back is JSON."""
    call = done(type="function_call", id="fc_1", call_id="call_1", name="f", arguments="")
    answer = await RESPONSES.answer(stream(call, ended()))

    assert answer.parts == (ToolCall(call_id="call_1", name="f", arguments="{}"),)
    assert answer.stop == "tools"


async def test_an_answer_without_counts_counts_as_zero() -> None:
    """A gateway before the provider may leave them out."""
    assert (await RESPONSES.answer(stream(ended()))).tokens == Tokens()
