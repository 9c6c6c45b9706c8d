from __future__ import annotations

import enum

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from recorders import codec
from recorders.records import PromptUsage, Record, TokenUsage
from tests.recorders import samples

ANY_TEXT = st.text(st.characters(exclude_categories=[]))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("record", samples.whole(), ids=lambda record: type(record).__name__)
def test_a_record_of_each_kind_comes_back_as_it_went(record: Record) -> None:
    """Encoding loses nothing, microseconds and time zone included."""
    assert codec.decode(codec.encode(record)) == record


def test_a_lone_surrogate_is_replaced_and_the_rest_of_the_text_is_kept() -> None:
    """A client's broken escape costs one character, not the record."""
    back = codec.decode(codec.encode(samples.prompt(prompt="a\ud800b é")))

    assert back == samples.prompt(prompt="a\ufffdb é")


def test_two_halves_of_a_character_become_the_character() -> None:
    """Surrogates that belong together are one character again."""
    assert codec.plain("\ud83d\ude00") == "\U0001f600"


def test_integers_in_metadata_beyond_64_bits_are_clamped_when_made_plain() -> None:
    """An absurd count stays a count that a database can hold."""
    assert codec.plain({"n": [10**40, -(10**40), True]}) == {"n": [2**63 - 1, -(2**63 - 1), True]}


def test_values_that_json_does_not_know_become_their_text() -> None:
    """What a host application put into the metadata can't make a record fail."""

    class Strange:
        def __repr__(self) -> str:
            return "strange\ud800"

    class Color(enum.Enum):
        RED = "red"

    record = samples.tokens(metadata={"a": Strange(), "b": Color.RED, (1, 2): None})

    back = codec.decode(codec.encode(record))

    assert isinstance(back, TokenUsage)
    assert back.metadata == {"a": "strange\ufffd", "b": "red", "(1, 2)": None}


@settings(deadline=None)
@given(prompt=ANY_TEXT, metadata=st.dictionaries(ANY_TEXT, ANY_JSON, max_size=3))
def test_whatever_a_client_sends_can_be_encoded_and_read_back(
    prompt: str, metadata: dict[str, object]
) -> None:
    """No text and no JSON loses a record, and what is well-formed stays as it was."""
    back = codec.decode(codec.encode(samples.prompt(prompt=prompt, metadata=metadata)))

    assert isinstance(back, PromptUsage)
    assert back.prompt == codec.plain(prompt)
    assert codec.plain(back.prompt) == back.prompt
