"""Names for the actor headers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.header_names import is_taken, is_token


@pytest.mark.parametrize("name", ["X-AI-Bridge-Actor-ID", "actor", "a!#$%&'*+-.^_`|~9"])
def test_a_token_of_rfc_9110_is_a_name(name: str) -> None:
    """Every character that a token may have is taken."""
    assert is_token(name)
    assert not is_taken(name)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ä", "a(b)", "a/b", "a" * 101])
def test_what_is_no_token_is_no_name(name: str) -> None:
    """Blanks, separators, line breaks, other letters, nothing at all, too much."""
    assert not is_token(name)


@pytest.mark.parametrize(
    "name",
    ["Authorization", "X-Api-Key", "cookie", "Host", "Content-Length", "X-Forwarded-For"],
)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_a_name_with_a_meaning_is_taken_in_any_case(name: str, case: Callable[[str], str]) -> None:
    """Credentials, framing and forwarding keep their names."""
    assert is_taken(case(name))


@pytest.mark.parametrize(
    "name", ["X-Coder-Owner-Id", "anthropic-beta", "OpenAI-Organization", "X-Stainless-Lang", "X-Amz-Date"]
)
def test_a_name_of_a_family_with_a_meaning_is_taken(name: str) -> None:
    """A header that does not exist yet may belong to a client or a provider tomorrow."""
    assert is_taken(name)
