"""Numbered payloads: what is rendered is recognised, and nothing else is."""

from __future__ import annotations

import pytest

from tests.bench.template import PLACEHOLDER, Template


@pytest.mark.parametrize("number", [0, 7, 9_999_999_999])
def test_number_of_a_rendering_is_the_number_it_was_made_of(number: int) -> None:
    """The upstream finds out which request it has before it."""
    template = Template(b"<" + PLACEHOLDER + b"|" + PLACEHOLDER + b">")
    assert template.number_of(template.render(number)) == number


def test_rendering_has_the_same_length_for_every_number() -> None:
    """Lengths are declared before the number is known."""
    template = Template(b"n=" + PLACEHOLDER)
    assert len(template.render(1)) == len(template.render(10**9)) == len(template)


def test_template_without_a_place_for_a_number_is_the_same_for_all() -> None:
    """A GET has no body to carry one."""
    assert Template(b"same").render(5) == b"same"
    assert Template(b"same").number_of(b"same") == 0


def test_change_of_any_byte_is_noticed() -> None:
    """A body that was re-serialised, or altered in one place, is no rendering."""
    template = Template(b'{"a": ' + PLACEHOLDER + b', "b": ' + PLACEHOLDER + b"}")
    rendering = template.render(42)
    for position in range(len(rendering)):
        changed = bytearray(rendering)
        changed[position] ^= 1
        assert template.number_of(bytes(changed)) is None
    assert template.number_of(rendering + b" ") is None
