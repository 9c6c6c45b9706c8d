"""The search itself: a search that finds nothing proves nothing until it was seen to find."""

from __future__ import annotations

import base64
import random
from urllib.parse import quote

import pytest

from tests.security.canaries import MARK, Canaries, found

CANARY = Canaries(random.Random(1)).make("cookie")


def test_a_canary_is_found_as_it_is_and_named() -> None:
    """The finding names the canary, and through it the place where it was planted."""
    assert found(b"x=" + CANARY.encode() + b";") == {CANARY.lower()}


@pytest.mark.parametrize("before", [b"", b"u:", b"user:"])
def test_a_canary_is_found_in_base64_at_each_alignment(before: bytes) -> None:
    """Basic credentials put a name before the secret, which moves the secret within the groups of Base64."""
    assert found(base64.b64encode(before + CANARY.encode()))


@pytest.mark.parametrize(
    "form",
    [
        CANARY.lower(),
        CANARY.upper(),
        "".join(f"%{ord(c):02X}" for c in CANARY),
        quote(CANARY),
        CANARY.encode().hex(),
        CANARY[: len(MARK) + 3],
    ],
)
def test_a_canary_is_found_in_other_forms(form: str) -> None:
    """In another case, percent-encoded, in hexadecimal, and cut off."""
    assert found(b"<" + form.encode() + b">")


def test_an_allowed_canary_and_clean_text_are_not_findings() -> None:
    """What may be there is no finding, and neither is a masked hint."""
    assert not found(CANARY.encode(), allowed=[CANARY])
    assert not found(f"{CANARY[:4]}...{CANARY[-4:]}".encode())
