"""Options are what the structs declare."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.kinds import DURATION, SWITCH, TEXT
from gateway.options import Help, options_of


class Pantry(msgspec.Struct):
    """Options of the three ways to have a default, and fields that are none."""

    shelf_life_s: Annotated[float, DURATION, Help("how long food keeps")] = 60.0
    lights: Annotated[str, TEXT, Help("which lights")] = "on"
    notes: Annotated[dict[str, str], SWITCH, Help("odd", hidden=True)] = {}
    shelves: int = 3
    cooks: Annotated[str, TEXT] = ""


def test_a_field_with_a_kind_and_a_line_of_help_is_an_option() -> None:
    """Plain fields are left alone, and the order is that of the struct."""
    assert [option.field for option in options_of(Pantry)] == ["shelf_life_s", "lights", "notes"]


def test_only_the_option_of_a_duration_loses_its_unit() -> None:
    """`shelf_life_s` is given as `shelf_life: 1m`; a plural keeps its s."""
    assert [option.name for option in options_of(Pantry)] == ["shelf_life", "lights", "notes"]


def test_defaults_are_known_as_values_and_as_text() -> None:
    """The text is what an operator would write."""
    life, lights, notes = options_of(Pantry)
    assert (life.default, life.default_text) == (60.0, "1m")
    assert (lights.default, lights.default_text) == ("on", "on")
    assert notes.default == {}
