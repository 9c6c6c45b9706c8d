from __future__ import annotations

import pytest

from gateway.chat.content import Image, Part, Reasoning, Text, ToolCall, ToolResult
from gateway.chat.storable import parts_from_json, parts_to_json, storable, storable_count
from recorders.codec import MAX_INTEGER


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("wörld 🌍\t\n", "wörld 🌍\t\n"),
        ("a\x00b", "a\ufffdb"),
        ("a\ud83cb", "a\ufffdb"),
        ("\ud83c\udf0d", "🌍"),
    ],
    ids=ascii,
)
def test_a_text_changes_only_where_no_database_takes_it(text: str, kept: str) -> None:
    """Two halves of a character that came apart are one again."""
    assert storable(text) == kept


@pytest.mark.parametrize(
    "part",
    [
        Text("wörld 🌍"),
        Reasoning(text="hm", opaque='{"data": "\\u0000"}', provider="anthropic", model="claude"),
        ToolCall(call_id="1", name="look", arguments='{"at": "\\u0000", "and": "\\\\u0000"'),
        ToolResult(
            call_id="1", name="look", content="", is_error=True, images=(Image(media_type="a/b", data="c"),)
        ),
    ],
    ids=lambda part: type(part).__name__,
)
def test_parts_come_back_from_json_as_they_were(part: Part) -> None:
    """Also JSON inside of them, however it writes a NUL."""
    assert parts_from_json(parts_to_json((part, part))) == (part, part)


@pytest.mark.parametrize("odd", ["a\x00b", "a\ud800b", "\x00\ud800"])
def test_what_no_database_takes_is_replaced_in_every_part(odd: str) -> None:
    """At any depth, and nothing else is touched."""
    kept = storable(odd)
    image = Image(media_type="image/png", data=odd)
    parts = (
        Text(odd),
        Reasoning(text=odd, opaque="{}"),
        ToolResult(call_id="1", name="look", content=odd, images=(image,)),
    )

    assert parts_from_json(parts_to_json(parts)) == (
        Text(kept),
        Reasoning(text=kept, opaque="{}"),
        ToolResult(
            call_id="1", name="look", content=kept, images=(Image(media_type="image/png", data=kept),)
        ),
    )


def test_a_count_that_no_column_holds_is_the_highest() -> None:
    """Others are what they were."""
    assert [storable_count(count) for count in (0, 7, 1 << 80)] == [0, 7, MAX_INTEGER]
