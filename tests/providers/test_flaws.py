"""The short list of what could not be read."""

from __future__ import annotations

from providers.flaws import Flaws


def test_a_flaw_is_noted_once() -> None:
    """The thousandth broken event says nothing new."""
    flaws = Flaws()
    flaws.note("a")
    flaws.note("b")
    flaws.note("a")
    assert flaws == ["a", "b"]


def test_only_the_first_few_are_kept() -> None:
    """A provider cannot fill the log."""
    flaws = Flaws()
    for number in range(1000):
        flaws.note(str(number))
    assert len(flaws) == 16
