"""Beta flags as an option, in text and in YAML."""

from __future__ import annotations

import pytest

from gateway.beta_flags import BETA_FLAGS
from gateway.kinds import Misfit
from providers.bedrock import rules

READ = {"all-2025-01-01": (), "some-2025-01-01": ("opus-4-5", "haiku-4-5")}


@pytest.mark.parametrize(
    "raw",
    [
        "all-2025-01-01, some-2025-01-01=opus-4-5,some-2025-01-01=haiku-4-5,",
        {"all-2025-01-01": [], "some-2025-01-01": ["opus-4-5", "haiku-4-5"]},
    ],
)
def test_both_ways_of_writing_them(raw: object) -> None:
    """A flag alone is for all models."""
    assert BETA_FLAGS.read(raw) == READ
    assert BETA_FLAGS.read(BETA_FLAGS.show(READ)) == READ


def test_none_at_all_can_be_said() -> None:
    """No flag goes to Bedrock then."""
    assert BETA_FLAGS.read("") == BETA_FLAGS.read({}) == {}


def test_the_default_can_be_written() -> None:
    """What `config show` prints is what can be set."""
    assert BETA_FLAGS.read(BETA_FLAGS.show(rules.BETA_FLAGS)) == rules.BETA_FLAGS


@pytest.mark.parametrize(
    "raw", [7, ["flag"], {"flag": "opus"}, "=opus", "flag=", "fl ag", {"flag": ["op us"]}]
)
def test_anything_else_is_a_misfit(raw: object) -> None:
    """It says what is expected."""
    with pytest.raises(Misfit, match="flags"):
        BETA_FLAGS.read(raw)
