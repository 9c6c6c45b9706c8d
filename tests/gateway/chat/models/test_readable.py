"""What of an answer is shown to a model again."""

from __future__ import annotations

import pytest

from gateway.chat.content import Part, Reasoning, Text, ToolCall
from gateway.chat.models.readable import block_of, opaque_of, readable
from gateway.chat.routing import ModelName

NAME = ModelName("scripted", "scripted-model")
OWN = Reasoning(text="Hm", opaque='{"type": "known"}', provider=NAME.provider, model=NAME.model)
CALL = ToolCall(call_id="a", name="f", arguments="{}")


def test_order_is_kept() -> None:
    """Reasoning belongs to what comes behind it."""
    parts = (OWN, Text("One"), OWN, CALL)

    assert readable(parts, NAME, {"known"}) == list(parts)


@pytest.mark.parametrize(
    "parts", [(OWN,), (OWN, OWN), (OWN, Text(" ")), ()], ids=["alone", "twice", "before a blank", "nothing"]
)
def test_reasoning_that_led_to_nothing_is_left_out(parts: tuple[Part, ...]) -> None:
    """However much of it there is."""
    assert readable(parts, NAME, {"known"}) == []


def test_reasoning_of_a_type_that_the_format_does_not_know_is_left_out() -> None:
    """A provider may have been configured anew, with another format."""
    assert readable((OWN, CALL), NAME, {"other"}) == [CALL]


@pytest.mark.parametrize("opaque", ["", "{", "[]", "5", '"text"'])
def test_what_is_no_block_is_an_empty_one(opaque: str) -> None:
    """What the store holds may be anything."""
    assert block_of(Reasoning(text="", opaque=opaque)) == {}


def test_a_block_comes_out_as_it_went_in() -> None:
    """Letter by letter: it may be signed."""
    block = {"type": "known", "text": "é\n", "list": [1, None, 2.5]}

    assert block_of(Reasoning(text="", opaque=opaque_of(block))) == block
