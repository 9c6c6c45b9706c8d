"""JSON as it comes: what is read leniently, and what is refused with its place."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from providers.documents import (
    MAX_REPAIRED_BYTES,
    Loose,
    Unreadable,
    anything,
    items,
    last,
    read,
    text,
    written,
)


class Sketch(msgspec.Struct):
    name: Loose = None
    list: Loose = None


SKETCH = msgspec.json.Decoder(Sketch)
bounded = settings(max_examples=200, derandomize=True, deadline=None, database=None)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(categories=["L", "Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["name", "list", "other"]), JSON))
@bounded
def test_no_json_object_is_refused_for_its_shape(document: dict[str, object]) -> None:
    """Lone surrogates, NaN, huge numbers, any nesting: an object of loose fields takes it."""
    read(SKETCH, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"name":"a\\ud800b"}', "a?b"),
        (b'{"name":"x","other":NaN}', "x"),
        (b'{"name":"x","list":1e999}', "x"),
        (b'{"name":"x","list":' + b"9" * 5000 + b"}", "x"),
        (b'{"name":1,"na\\u006de":"x"}', "x"),
        (b'{"name":"a\xffb"}', "a\ufffdb"),
    ],
)
def test_what_the_fast_decoder_refuses_is_repaired(body: bytes, name: str) -> None:
    """The facts of a document survive what other decoders take."""
    assert read(SKETCH, body).name == name


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Expecting value at byte 0"),
        (b'{"name":', "Expecting value at byte 8"),
        ('{"name":"äö" x}'.encode(), "Expecting ',' delimiter at byte 15"),
        (b'{"name":"a\nb"}', "Invalid control character at byte 10"),
        (b'{"name":1} {}', "Extra data at byte 11"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"other":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"[1]", "Expected `object`, got `array`"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(body: bytes, reason: str) -> None:
    """The place is a byte offset; the text itself is not quoted."""
    with pytest.raises(Unreadable) as refused:
        read(SKETCH, body)
    assert str(refused.value) == reason


def test_members_of_another_shape_are_left_out_of_a_list() -> None:
    """A list tells the members that can be read; what is no list has none."""
    sketch = read(SKETCH, b'{"list":[{"name":"a"},7,null,[{}],{"name":2}]}')
    assert [item.name for item in items(sketch.list, SKETCH)] == ["a", 2]
    assert items("text", SKETCH) == []
    assert last(sketch.list, SKETCH) == Sketch(name=2)
    assert last([Raw(b"7")], SKETCH) is None
    assert last([], SKETCH) is None
    assert last({"name": Raw(b'"a"')}, SKETCH) is None


def test_text_is_text_that_is_not_empty() -> None:
    """Everything else is no fact."""
    assert text("a") == "a"
    assert [text(value) for value in ("", None, 1.0, True, ["a"])] == [None] * 5


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'"{\\"a\\": 1}"', '{"a": 1}'),
        (b'"not json"', "not json"),
        (b'{"a": 1.50}', '{"a": 1.50}'),
        (b"null", ""),
        (b'""', ""),
        (b'"\\ud800"', "?"),
        (b'{"a": "\xff"}', '{"a": "\ufffd"}'),
    ],
)
def test_input_stays_as_the_model_wrote_it(raw: bytes, expected: str) -> None:
    """A JSON string is its text; any other value is its source, number forms and spaces included."""
    assert written(Raw(raw)) == expected


def test_a_value_that_cannot_be_read_is_none() -> None:
    """An untyped look never raises."""
    assert anything(b'{"a":[1]}') == {"a": [1]}
    assert anything(b"{") is None
    assert anything(b"[" * 100_000) is None


def test_a_document_too_long_to_repair_is_unreadable() -> None:
    """What would block the event loop for long is refused with the decoder's own words."""
    filler = b'"' + b"x" * MAX_REPAIRED_BYTES + b'"'
    with pytest.raises(Unreadable):
        read(msgspec.json.Decoder(), b"[NaN," + filler + b"]")
