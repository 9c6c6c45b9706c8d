"""Users' own provider keys as they are kept: encrypted, and bound to the place where they belong.

The first encryption key encrypts and each of them decrypts, so that they can be replaced one after the other. Sealed in
with a provider key is whose it is and for which provider of which type. A sealed key that was copied to another user
or provider doesn't open there, and neither does one whose provider has become another vendor's.

The encryption is Fernet (AES-128-CBC with HMAC-SHA256). Nothing here knows a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from providers.secret import Secret


class Place(NamedTuple):
    """Where a key belongs."""

    user_id: str
    provider_id: str
    provider_type: str


class _Sealed(msgspec.Struct, frozen=True):
    """What is encrypted, as JSON."""

    place: Place
    key: str

    def __repr__(self) -> str:
        return f"_Sealed({self.place})"


class KeySeal:
    """Raises `ValueError`, which shows none, where there are no `encryption_keys` or one is no Fernet key."""

    def __init__(self, encryption_keys: Sequence[Secret]) -> None:
        try:
            fernets = [Fernet(key.reveal_secret_value()) for key in encryption_keys]
        except ValueError:
            raise ValueError(
                "user_key_encryption_keys must be 32 bytes in URL-safe base64 each, and one of them is not"
            ) from None
        self._all = MultiFernet(fernets)
        self._current = fernets[0]

    def seal(self, place: Place, key: Secret) -> str:
        plain = msgspec.json.encode(_Sealed(place, key.reveal_secret_value()))
        return self._current.encrypt(plain).decode("ascii")

    def open(self, place: Place, sealed: str) -> Secret | None:
        """The key; None when no encryption key opens it, or it belongs somewhere else."""
        return _opened(self._all, place, sealed)

    def is_current(self, place: Place, sealed: str) -> bool:
        """Whether the first encryption key alone opens it."""
        return _opened(self._current, place, sealed) is not None


def new_encryption_key() -> Secret:
    return Secret(Fernet.generate_key().decode("ascii"))


def _opened(fernet: Fernet | MultiFernet, place: Place, sealed: str) -> Secret | None:
    try:
        plain = msgspec.json.decode(fernet.decrypt(sealed.encode()), type=_Sealed)
    except (InvalidToken, msgspec.MsgspecError, UnicodeError):
        return None
    return Secret(plain.key) if plain.place == place else None
