"""Errors of providers in the shapes that occur."""

from __future__ import annotations

import pytest

from providers.base import ProviderFailure
from providers.failures import failure


@pytest.mark.parametrize(
    ("error", "type_", "message"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "overloaded_error", "Overloaded"),
        (
            {"type": None, "code": "rate_limit_exceeded", "message": "Slow down"},
            "rate_limit_exceeded",
            "Slow down",
        ),
        ({"code": 429, "message": "Slow down"}, "429", "Slow down"),
        ({"status": "UNAVAILABLE", "message": None}, "UNAVAILABLE", ""),
        ({"message": "Oops"}, "error", "Oops"),
        ("Unauthorized", "error", "Unauthorized"),
    ],
)
def test_type_and_message_are_found(error: object, type_: str, message: str) -> None:
    """The type, else the code, else the status; proxies also send bare text."""
    assert failure(error) == ProviderFailure(type=type_, message=message)


@pytest.mark.parametrize("error", [None, {}, [], 7, False])
def test_no_error_is_no_failure(error: object) -> None:
    """Whole answers say `"error": null`."""
    assert failure(error) is None


def test_a_page_instead_of_a_message_is_cut() -> None:
    """A record holds a message, not a megabyte."""
    told = failure({"type": "t" * 100_000, "message": "m" * 100_000})
    assert told is not None
    assert (len(told.type), len(told.message)) == (8192, 8192)
