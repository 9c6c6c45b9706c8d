"""Users' own keys for AI providers, kept here for the chat service, which calls models in their name.

They are encrypted at rest (`gateway.sealed_keys`) with the operator's encryption keys; without one, none is taken.
Where a key that is there can't be decrypted, its user is told so and no other credential takes its place.

Every mistake a person can make here is a `ProviderKeyError` whose text can be shown to them:

    ProviderKeyError
    ├── UnknownProvider, ProviderIsDisabled
    ├── BadProviderKey
    ├── NoStoredKey
    ├── UserKeptElsewhere     another authority knows the users, and there is no row to store a key for
    └── NoEncryptionKey

Trouble with the database is a `StoreError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.accounts import utc_now
from gateway.ai_providers import AiProvider, AiProviderRows
from gateway.sealed_keys import KeySeal, Place
from middleware.exchange import new_id
from providers.options import INSTANCE_NAME
from providers.secret import Secret
from recorders.stores.database import Database, Row, Statement, read_time, time_value

MAX_KEY_LENGTH: Final = 8192
"""Characters. Keys have a hundred; some are tokens of a few thousand."""

ROTATED_AT_ONCE: Final = 200
"""Stored keys that are read, encrypted again and written in one step."""


class ProviderKeyError(Exception):
    """Something is wrong with what was asked; the text says what."""


class UnknownProvider(ProviderKeyError):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is no AI provider {_shown(name)}.")


class ProviderIsDisabled(ProviderKeyError):
    def __init__(self, name: str) -> None:
        super().__init__(f"The AI provider {name!r} is disabled, so it takes no keys.")


class BadProviderKey(ProviderKeyError):
    def __init__(self, why: str) -> None:
        super().__init__(f"This can't be a provider's key: it {why}.")


class NoStoredKey(ProviderKeyError):
    def __init__(self, provider: str) -> None:
        super().__init__(f"No key is stored for the AI provider {_shown(provider)}.")


class UserKeptElsewhere(ProviderKeyError):
    def __init__(self) -> None:
        super().__init__(
            "The users are kept by another authority, and the gateway can store keys of its own users only: send your "
            "own key with each call instead."
        )


class NoEncryptionKey(ProviderKeyError):
    def __init__(self) -> None:
        super().__init__(
            "Users' own keys can't be stored here: the operator has to set user_key_encryption_keys (`ai-gateway "
            "provider-keys generate-encryption-key` makes one)."
        )


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What may be known of a stored key."""

    provider: str
    provider_enabled: bool
    hint: str | None
    """The key, masked; None when it can't be decrypted."""
    created_at: datetime
    updated_at: datetime

    @property
    def is_usable(self) -> bool:
        return self.hint is not None


@dataclass(frozen=True, slots=True)
class Unusable:
    """Whose key for which provider no encryption key opens."""

    username: str
    provider: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of all stored keys: encrypted anew, left because they are encrypted with the first key already, or
    left because nothing opens them."""

    rotated: int
    current: int
    unusable: tuple[Unusable, ...]


_QUERY: Final = """
    SELECT kept.id, kept.user_id, kept.ai_provider_id, kept.encrypted_key, kept.created_at, kept.updated_at,
           ai_providers.name AS provider, ai_providers.type AS provider_type,
           ai_providers.enabled AS provider_enabled, users.name AS username
    FROM user_ai_provider_keys kept
    JOIN ai_providers ON ai_providers.id = kept.ai_provider_id
    JOIN users ON users.id = kept.user_id
"""
_SET: Final = """
    INSERT INTO user_ai_provider_keys (id, user_id, ai_provider_id, encrypted_key, created_at, updated_at)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (user_id, ai_provider_id)
    DO UPDATE SET encrypted_key = excluded.encrypted_key, updated_at = excluded.updated_at
"""


class ProviderKeys:
    """The keys in `database`, sealed with `encryption_keys`, of which the first encrypts and each decrypts.

    Raises `ValueError`, which shows no key, when one of them can't be used.
    """

    def __init__(
        self,
        database: Database,
        encryption_keys: Sequence[Secret] = (),
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._clock = clock
        self._providers = AiProviderRows(database)
        self._seal = KeySeal(encryption_keys) if encryption_keys else None

    async def set(self, user_id: str, provider: str, key: Secret) -> StoredKey:
        """Keep `key` as the user's own for the provider of that name, instead of the one that is there.

        Raises `BadProviderKey`, `UnknownProvider`, `ProviderIsDisabled`, `UserKeptElsewhere`, `NoEncryptionKey`.
        """
        if self._seal is None:
            raise NoEncryptionKey
        _check(key)
        row = await self._provider(provider)
        if not await self._database.fetch("SELECT id FROM users WHERE id = ?", user_id):
            raise UserKeptElsewhere
        sealed, now = self._seal.seal(Place(user_id, row.id, row.type), key), time_value(self._clock())
        await self._database.execute(_SET, new_id(), user_id, row.id, sealed, now, now)
        return await self._get(user_id, provider)

    async def list(self, user_id: str) -> Sequence[StoredKey]:
        """The user's own, by provider; those that can't be decrypted are among them."""
        rows = await self._database.fetch(
            f"{_QUERY} WHERE kept.user_id = ? ORDER BY ai_providers.name", user_id
        )
        return [self._stored(row) for row in rows]

    async def delete(self, user_id: str, provider: str) -> StoredKey:
        """Keep it no longer; returns what it was. Raises `NoStoredKey`."""
        stored = await self._get(user_id, provider)
        await self._database.execute(
            "DELETE FROM user_ai_provider_keys WHERE user_id = ? "
            "AND ai_provider_id IN (SELECT id FROM ai_providers WHERE name = ?)",
            *(user_id, provider),
        )
        return stored

    async def key_of(self, user_id: str, provider: AiProvider) -> Secret | None:
        """The user's own key, None when there is none. Raises `StoredKeyUnusable` when it can't be decrypted."""
        rows = await self._database.fetch(
            "SELECT encrypted_key FROM user_ai_provider_keys WHERE user_id = ? AND ai_provider_id = ?",
            *(user_id, provider.id),
        )
        if not rows:
            return None
        key = self._opened(Place(user_id, provider.id, provider.type), rows[0]["encrypted_key"])
        if key is None:
            # Whoever catches it has loaded the vendors' SDKs with it; the others shouldn't have to.
            from gateway.chat.routing.errors import StoredKeyUnusable  # noqa: PLC0415

            raise StoredKeyUnusable(provider.name)
        return key

    async def rotate(self) -> Rotation:
        """Encrypt all stored keys with the first encryption key; those that are stay as they are.

        May be broken off and done again, while others set and use keys. Raises `NoEncryptionKey`.
        """
        if self._seal is None:
            raise NoEncryptionKey
        rotated, current, unusable, after = 0, 0, list[Unusable](), ""
        while rows := await self._database.fetch(
            f"{_QUERY} WHERE kept.id > ? ORDER BY kept.id LIMIT ?", after, ROTATED_AT_ONCE
        ):
            statements = []
            for row in rows:
                place, sealed = _place(row), row["encrypted_key"]
                key = self._seal.open(place, sealed)
                if key is None:
                    unusable.append(Unusable(row["username"], row["provider"]))
                elif self._seal.is_current(place, sealed):
                    current += 1
                else:
                    statements.append(_replacement(row, self._seal.seal(place, key)))
            await self._database.transaction(statements)
            rotated += len(statements)
            after = rows[-1]["id"]
        return Rotation(rotated, current, tuple(unusable))

    async def _provider(self, name: str) -> AiProvider:
        row = await self._providers.find(name)
        if row is None:
            raise UnknownProvider(name)
        if not row.enabled:
            raise ProviderIsDisabled(name)
        return row

    async def _get(self, user_id: str, provider: str) -> StoredKey:
        if not INSTANCE_NAME.fullmatch(provider):
            raise NoStoredKey(provider)
        rows = await self._database.fetch(
            f"{_QUERY} WHERE kept.user_id = ? AND ai_providers.name = ?", user_id, provider
        )
        if not rows:
            raise NoStoredKey(provider)
        return self._stored(rows[0])

    def _stored(self, row: Row) -> StoredKey:
        key = self._opened(_place(row), row["encrypted_key"])
        return StoredKey(
            provider=row["provider"],
            provider_enabled=bool(row["provider_enabled"]),
            hint=None if key is None else key.hint,
            created_at=read_time(row["created_at"]),
            updated_at=read_time(row["updated_at"]),
        )

    def _opened(self, place: Place, sealed: str) -> Secret | None:
        return None if self._seal is None else self._seal.open(place, sealed)


def _check(key: Secret) -> None:
    """It is to stand in a header."""
    text = key.reveal_secret_value()
    if not text:
        raise BadProviderKey("is empty")
    if len(text) > MAX_KEY_LENGTH:
        raise BadProviderKey(f"has more than {MAX_KEY_LENGTH} characters")
    if not all("!" <= character <= "~" for character in text):
        raise BadProviderKey("must be printable ASCII without blanks")


def _place(row: Row) -> Place:
    return Place(row["user_id"], row["ai_provider_id"], row["provider_type"])


def _replacement(row: Row, sealed: str) -> Statement:
    """What its user has set meanwhile stays, and when they set it isn't forgotten."""
    return Statement(
        "UPDATE user_ai_provider_keys SET encrypted_key = ? WHERE id = ? AND encrypted_key = ?",
        (sealed, row["id"], row["encrypted_key"]),
    )


def _shown(name: str) -> str:
    """A key that was pasted for a name must not end up in a terminal's or a server's log."""
    return repr(name) if len(name) <= 32 and INSTANCE_NAME.fullmatch(name) else "of this name"
