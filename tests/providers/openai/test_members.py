"""The places of an object's members in its bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.openai.members import last_member, members, skip_space

bounded = settings(max_examples=300, derandomize=True, deadline=None, database=None)
TEXT = st.text(st.sampled_from('ab"\\{}[]:, \n\u2028é'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@given(
    document=st.dictionaries(TEXT, VALUES, max_size=5),
    indent=st.sampled_from([None, 1]),
    escaped=st.booleans(),
    space=st.sampled_from(["", " \n"]),
)
@bounded
def test_each_value_is_found_where_it_stands(
    document: dict[str, object], indent: int | None, escaped: bool, space: str
) -> None:
    """Compact or indented, escaped or not: the span of each value is that value's JSON."""
    body = (space + json.dumps(document, indent=indent, ensure_ascii=escaped) + space).encode()
    found = [(m.name, json.loads(body[m.start : m.end])) for m in members(body, skip_space(body, 0))]
    assert found == list(document.items())
    assert all(
        body[m.start : m.end].strip() == body[m.start : m.end] for m in members(body, skip_space(body, 0))
    )


def test_only_the_objects_own_members_are_told() -> None:
    """The same name deeper down, or in text, is another matter."""
    body = b'{"a":{"x":1,"a":[{"x":2}]},"b":"\\"x\\":3","x":4,"c":{"x":5}}'
    found = last_member(body, 0, "x")
    assert found is not None
    assert body[found.start : found.end] == b"4"


@pytest.mark.parametrize("body", [b'{"x":1,"x":2}', b'{"x":1,"\\u0078" : 2 }', b'{"\\u0078":1, "x":\n2\n}'])
def test_of_duplicate_members_the_last_is_found(body: bytes) -> None:
    """As decoders see them, escapes resolved."""
    found = last_member(body, 0, "x")
    assert found is not None
    assert body[found.start : found.end] == b"2"


def test_what_follows_the_object_is_not_looked_at() -> None:
    """An object within another ends at its own brace."""
    body = b'{"a":{"y":1},"x":2}'
    assert last_member(body, 5, "x") is None
    assert last_member(b"{}", 0, "x") is None
