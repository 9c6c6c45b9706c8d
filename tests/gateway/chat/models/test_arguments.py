"""Whatever a model wrote as arguments goes back as a JSON object."""

from __future__ import annotations

import json

import pytest

from gateway.chat.models.arguments import as_object, as_text

BAD = ['{"a": ', "[1]", "null", '"text"', "NaN", '{"a": NaN}', '{"a": "\\ud800"}', "[" * 5000, "{'a': 1}"]


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_no_arguments_are_an_empty_object(text: str) -> None:
    """Models leave the text empty where a tool takes nothing."""
    assert as_object(text) == {}
    assert as_text(text) == "{}"


def test_good_arguments_are_left_to_the_letter() -> None:
    """Spaces and order too: a provider's cache goes by them."""
    text = '{ "b": 1.50,  "a": "\\u00e9" }'

    assert as_object(text) == {"b": 1.5, "a": "é"}
    assert as_text(text) == text


@pytest.mark.parametrize("text", BAD)
def test_bad_arguments_are_wrapped(text: str) -> None:
    """The model sees what it wrote, inside of what every provider can read."""
    assert as_object(text) == {"invalid_json": text}
    assert json.loads(as_text(text)) == {"invalid_json": text}
