"""The headers for a collector: read from text, kept as a secret, shown by their names."""

from __future__ import annotations

import pytest

from gateway.export_headers import EXPORT_HEADERS, headers_of
from gateway.kinds import Misfit

SECRET = "fake-collector-key"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization=Bearer {SECRET}==,x-tenant=a b",
        f" authorization = Bearer {SECRET}== \nX-Tenant=a b\n",
        f"authorization=Bearer {SECRET}==,,x-tenant=a b,",
    ],
    ids=["commas", "lines of a file", "empty pieces"],
)
def test_headers_come_apart_at_the_first_equals_sign(text: str) -> None:
    """A value may hold further ones, and blanks in its middle; names are lower-case."""
    read = EXPORT_HEADERS.read(text)
    assert headers_of(read) == {"authorization": f"Bearer {SECRET}==", "x-tenant": "a b"}
    assert EXPORT_HEADERS.read("") == EXPORT_HEADERS.read(" ")
    assert not EXPORT_HEADERS.read("")
    assert headers_of(EXPORT_HEADERS.read("")) == {}


@pytest.mark.parametrize("text", ["authorization", "=x", "a b=c", "a=", "a=\x01", "a=é", 5, ["a=b"]])
def test_what_is_no_header_is_refused_without_being_repeated(text: object) -> None:
    """It may be the secret itself."""
    with pytest.raises(Misfit) as refused:
        EXPORT_HEADERS.read(text)
    assert str(text) not in str(refused.value) or len(str(text)) < 5


def test_only_names_are_shown() -> None:
    """Neither printing the value nor showing it gives the key away."""
    read = EXPORT_HEADERS.read(f"authorization={SECRET}")
    assert EXPORT_HEADERS.secret
    assert EXPORT_HEADERS.show(read) == "authorization=..."
    assert SECRET not in f"{read!r} {read}"
