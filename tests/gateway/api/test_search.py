"""The `q` parameter, term by term."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from gateway.api.search import BadSearch, parse_search

KEYS = ("model", "client", "initiator")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("   ", {}),
        ("model:a", {"model": "a"}),
        (' model:a  client:"Claude Code" ', {"model": "a", "client": "Claude Code"}),
        ("model:a:b=c/d", {"model": "a:b=c/d"}),
        ('client:""', {"client": ""}),
        ("initiator:me\tmodel:x", {"initiator": "me", "model": "x"}),
    ],
)
def test_terms_are_read(text: str, found: dict[str, str]) -> None:
    """In any order, with spaces between them."""
    assert parse_search(text, KEYS) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("big", "can't be read from character 1 on"),
        ("model:a big", "can't be read from character 8 on"),
        ("model:", "can't be read from character 1 on"),
        ('model:"a', "can't be read from character 1 on"),
        ('model:"a"b', "can't be read from character 1 on"),
        ("model:a model:b", "has model twice"),
        ("user:a", "has no key 'user': it is one of model, client, initiator"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, said: str) -> None:
    """With its place, or its name."""
    with pytest.raises(BadSearch) as caught:
        parse_search(text, KEYS)

    assert str(caught.value).startswith(said)


@given(strategies.text())
def test_no_line_breaks_the_parser(text: str) -> None:
    """It is read, or refused in words."""
    try:
        found = parse_search(text, KEYS)
    except BadSearch:
        return
    assert set(found) <= set(KEYS)
