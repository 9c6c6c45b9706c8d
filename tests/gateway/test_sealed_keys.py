from __future__ import annotations

import pytest

from gateway.sealed_keys import KeySeal, Place, new_encryption_key
from providers.secret import Secret

PLACE = Place("user-1", "provider-1", "openai")
KEY = Secret("sk-fake-key-that-is-the-users-own")


def test_what_is_sealed_opens_where_it_belongs() -> None:
    """And shows nothing of the key."""
    seal = KeySeal([new_encryption_key()])

    sealed = seal.seal(PLACE, KEY)

    assert seal.open(PLACE, sealed) == KEY
    assert KEY.reveal_secret_value() not in sealed
    assert seal.seal(PLACE, KEY) != sealed


@pytest.mark.parametrize(
    "place",
    [
        PLACE._replace(user_id="user-2"),
        PLACE._replace(provider_id="provider-2"),
        PLACE._replace(provider_type="anthropic"),
    ],
)
def test_it_opens_nowhere_else(place: Place) -> None:
    """For no other user, no other provider, and not when the provider has become another vendor's."""
    seal = KeySeal([new_encryption_key()])

    assert seal.open(place, seal.seal(PLACE, KEY)) is None
    assert not seal.is_current(place, seal.seal(PLACE, KEY))


def test_each_encryption_key_decrypts_and_the_first_encrypts() -> None:
    """So that a new one can be put before the old one."""
    old, new = new_encryption_key(), new_encryption_key()
    sealed = KeySeal([old]).seal(PLACE, KEY)
    both = KeySeal([new, old])

    assert both.open(PLACE, sealed) == KEY
    assert not both.is_current(PLACE, sealed)
    assert both.is_current(PLACE, both.seal(PLACE, KEY))
    assert KeySeal([new]).open(PLACE, both.seal(PLACE, KEY)) == KEY
    assert KeySeal([new]).open(PLACE, sealed) is None


def test_anything_else_does_not_open() -> None:
    """Cut, changed, in no encoding at all, or something of another's that this key encrypted."""
    encryption_key = new_encryption_key()
    seal = KeySeal([encryption_key])
    sealed = seal.seal(PLACE, KEY)
    foreign = KeySeal([encryption_key])._current.encrypt(b'{"user": 1}').decode()
    middle = len(sealed) // 2
    changed = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]

    for text in ("", "nonsense", "ä\ud800", sealed[:-8], changed, foreign):
        assert seal.open(PLACE, text) is None


@pytest.mark.parametrize("keys", [["sk-fake-no-fernet-key"], ["x" * 44], ["ä" * 44]])
def test_an_encryption_key_that_is_none_is_refused_without_showing_it(keys: list[str]) -> None:
    """It was a secret of somebody's all the same."""
    with pytest.raises(ValueError, match=r"^user_key_encryption_keys must be") as caught:
        KeySeal([Secret(key) for key in keys])

    assert not any(key in str(caught.value) for key in keys)
