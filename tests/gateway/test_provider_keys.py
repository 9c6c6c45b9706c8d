from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import gateway.provider_keys
from gateway.accounts import Accounts
from gateway.ai_providers import AiProvider, AiProviderRows
from gateway.chat.routing import StoredKeyUnusable, UserKeys
from gateway.provider_keys import (
    BadProviderKey,
    NoEncryptionKey,
    NoStoredKey,
    ProviderIsDisabled,
    ProviderKeys,
    Rotation,
    UnknownProvider,
    Unusable,
    UserKeptElsewhere,
)
from gateway.sealed_keys import new_encryption_key
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.base import StoreError
from recorders.stores.urls import database_for

KEY = Secret("sk-fake-key-that-is-the-users-own")
OTHER_KEY = Secret("sk-fake-another-key-of-the-users")
FIRST, SECOND = new_encryption_key(), new_encryption_key()
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Kept:
    """Keys on a database with the users `anna` and `ben`, and the providers `openai`, `anthropic` and `off`."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url
        self.database = database_for(database_url)
        self.clock = Clock()
        self.rows = AiProviderRows(self.database)
        self.keys = self.under([FIRST])
        self.anna = self.ben = ""

    async def open(self) -> None:
        await self.database.open()
        accounts = Accounts(self.database)
        self.anna = (await accounts.create_user("anna")).id
        self.ben = (await accounts.create_user("ben")).id
        await self.rows.seed(
            [
                ProviderOptions(type="openai", name="openai"),
                ProviderOptions(type="anthropic", name="anthropic"),
                ProviderOptions(type="openai", name="off", enabled=False),
            ]
        )

    def under(self, encryption_keys: Sequence[Secret]) -> ProviderKeys:
        """The same keys for who has these encryption keys."""
        return ProviderKeys(self.database, encryption_keys, clock=self.clock)

    async def provider(self, name: str = "openai") -> AiProvider:
        row = await self.rows.find(name)
        assert row is not None
        return row

    async def sealed(self) -> list[str]:
        rows = await self.database.fetch("SELECT encrypted_key FROM user_ai_provider_keys ORDER BY id")
        return [row["encrypted_key"] for row in rows]

    async def copy_key(self, column: str, value: str) -> None:
        """Somebody who can write to the database gives a row to another user or provider."""
        await self.database.execute(f"UPDATE user_ai_provider_keys SET {column} = ?", value)


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[Kept]:
    """Once for each kind of database."""
    kept = Kept(database_url)
    await kept.open()
    yield kept
    await kept.database.close()


async def test_a_key_that_was_set_is_the_users_for_that_provider_alone(kept: Kept) -> None:
    """As the routing of model calls asks for it."""
    await kept.keys.set(kept.anna, "openai", KEY)

    keys: UserKeys = kept.keys
    assert await keys.key_of(kept.anna, await kept.provider()) == KEY
    assert await keys.key_of(kept.ben, await kept.provider()) is None
    assert await keys.key_of(kept.anna, await kept.provider("anthropic")) is None
    assert await keys.key_of("somebody", await kept.provider()) is None


async def test_a_key_is_listed_masked_with_its_times(kept: Kept) -> None:
    """Setting it again replaces it and keeps the time of the first."""
    first = await kept.keys.set(kept.anna, "openai", KEY)
    kept.clock.now += timedelta(hours=1)
    second = await kept.keys.set(kept.anna, "openai", OTHER_KEY)
    await kept.keys.set(kept.anna, "anthropic", KEY)

    anthropic, openai = await kept.keys.list(kept.anna)
    assert openai == second
    assert (anthropic.provider, openai.provider) == ("anthropic", "openai")
    assert (first.hint, second.hint) == (KEY.hint, OTHER_KEY.hint)
    assert (first.created_at, first.updated_at) == (NOON, NOON)
    assert (second.created_at, second.updated_at) == (NOON, NOON + timedelta(hours=1))
    assert openai.is_usable
    assert openai.provider_enabled
    assert await kept.keys.list(kept.ben) == []
    assert await kept.keys.key_of(kept.anna, await kept.provider()) == OTHER_KEY


async def test_a_deleted_key_is_gone(kept: Kept) -> None:
    """That of nobody else."""
    await kept.keys.set(kept.anna, "openai", KEY)
    stored = await kept.keys.set(kept.ben, "openai", OTHER_KEY)

    assert (await kept.keys.delete(kept.anna, "openai")).hint == KEY.hint

    assert await kept.keys.list(kept.anna) == []
    assert await kept.keys.list(kept.ben) == [stored]
    with pytest.raises(NoStoredKey, match=r"^No key is stored for the AI provider 'openai'\.$"):
        await kept.keys.delete(kept.anna, "openai")


async def test_the_keys_of_a_deleted_user_are_forgotten(kept: Kept) -> None:
    """Nobody could delete them any more; a suspended user may come back."""
    for user in (kept.anna, kept.ben):
        await kept.keys.set(user, "openai", KEY)
    accounts = Accounts(kept.database)

    await accounts.suspend_user("ben")
    await accounts.delete_user("anna")

    assert await kept.keys.list(kept.anna) == []
    assert len(await kept.keys.list(kept.ben)) == 1


async def test_a_disabled_provider_takes_no_key_and_lets_go_of_one(kept: Kept) -> None:
    """A credential that serves nothing is one too many."""
    await kept.keys.set(kept.anna, "openai", KEY)
    await kept.rows.seed([ProviderOptions(type="openai", name="openai", enabled=False)])

    with pytest.raises(
        ProviderIsDisabled, match=r"^The AI provider 'openai' is disabled, so it takes no keys\.$"
    ):
        await kept.keys.set(kept.anna, "openai", OTHER_KEY)
    [listed] = await kept.keys.list(kept.anna)
    assert not listed.provider_enabled
    assert (await kept.keys.delete(kept.anna, "openai")).hint == KEY.hint


@pytest.mark.parametrize("name", ["nobody", "", "openai\x00", "\ud800", "a" * 200, "sk-fake-Key_pasted"])
async def test_an_unknown_provider_is_refused(kept: Kept, name: str) -> None:
    """And a key that was pasted there isn't repeated."""
    with pytest.raises(UnknownProvider) as caught:
        await kept.keys.set(kept.anna, name, KEY)
    with pytest.raises(NoStoredKey) as gone:
        await kept.keys.delete(kept.anna, name)

    shown = "'nobody'" if name == "nobody" else "of this name"
    assert str(caught.value) == f"There is no AI provider {shown}."
    assert str(gone.value) == f"No key is stored for the AI provider {shown}."


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "it is empty"),
        ("k" * 8193, "it has more than 8192 characters"),
        ("sk-fake\r\nx-evil: 1", "it must be printable ASCII without blanks"),
        ("sk fake", "it must be printable ASCII without blanks"),
        ("sk-fäke", "it must be printable ASCII without blanks"),
        ("sk\x7f", "it must be printable ASCII without blanks"),
    ],
)
async def test_what_cannot_stand_in_a_header_is_no_key(kept: Kept, key: str, why: str) -> None:
    """The sentence doesn't repeat it."""
    with pytest.raises(BadProviderKey) as caught:
        await kept.keys.set(kept.anna, "openai", Secret(key))

    assert str(caught.value) == f"This can't be a provider's key: {why}."
    assert await kept.sealed() == []


async def test_a_key_as_long_as_may_be_is_kept(kept: Kept) -> None:
    """Whole."""
    key = Secret("k" * 8192)
    await kept.keys.set(kept.anna, "openai", key)

    assert await kept.keys.key_of(kept.anna, await kept.provider()) == key


async def test_a_user_of_another_authority_has_no_place_for_a_key(kept: Kept) -> None:
    """A sentence, and not the database's."""
    with pytest.raises(
        UserKeptElsewhere, match=r"kept by another authority.*send your own key with each call"
    ):
        await kept.keys.set("somebody-of-the-control-plane", "openai", KEY)


async def test_without_an_encryption_key_none_is_taken_and_what_is_there_cannot_be_used(kept: Kept) -> None:
    """Never in the clear, and never silently another credential."""
    await kept.keys.set(kept.anna, "openai", KEY)
    keyless = kept.under([])

    with pytest.raises(NoEncryptionKey, match="set user_key_encryption_keys"):
        await keyless.set(kept.anna, "openai", OTHER_KEY)
    with pytest.raises(NoEncryptionKey):
        await keyless.rotate()
    with pytest.raises(StoredKeyUnusable, match="'openai' can't be decrypted: set it again, or delete it"):
        await keyless.key_of(kept.anna, await kept.provider())
    assert await keyless.key_of(kept.ben, await kept.provider()) is None
    [listed] = await keyless.list(kept.anna)
    assert (listed.hint, listed.is_usable) == (None, False)
    assert (await keyless.delete(kept.anna, "openai")).hint is None


async def test_a_row_that_was_copied_to_another_user_does_not_work(kept: Kept) -> None:
    """Who can write to the database can't spend somebody else's money."""
    await kept.keys.set(kept.anna, "openai", KEY)
    await kept.copy_key("user_id", kept.ben)

    with pytest.raises(StoredKeyUnusable):
        await kept.keys.key_of(kept.ben, await kept.provider())
    assert [one.hint for one in await kept.keys.list(kept.ben)] == [None]


async def test_a_row_that_was_copied_to_another_provider_does_not_work(kept: Kept) -> None:
    """Nor send a key to another vendor."""
    await kept.keys.set(kept.anna, "openai", KEY)
    await kept.copy_key("ai_provider_id", (await kept.provider("anthropic")).id)

    with pytest.raises(StoredKeyUnusable):
        await kept.keys.key_of(kept.anna, await kept.provider("anthropic"))


async def test_a_key_does_not_follow_its_row_to_another_vendor(kept: Kept) -> None:
    """Also one that was set by a replica in the moment when the provider became another."""
    await kept.keys.set(kept.anna, "openai", KEY)
    await kept.database.execute("UPDATE ai_providers SET type = 'anthropic' WHERE name = 'openai'")

    with pytest.raises(StoredKeyUnusable):
        await kept.keys.key_of(kept.anna, await kept.provider())


@pytest.mark.parametrize("damage", ["", "nonsense", "ä"])
async def test_a_damaged_row_is_told_and_can_be_set_again(kept: Kept, damage: str) -> None:
    """It is listed, as one that can't be decrypted."""
    await kept.keys.set(kept.anna, "openai", KEY)
    await kept.copy_key("encrypted_key", damage)

    with pytest.raises(StoredKeyUnusable):
        await kept.keys.key_of(kept.anna, await kept.provider())
    assert [one.is_usable for one in await kept.keys.list(kept.anna)] == [False]
    assert (await kept.keys.set(kept.anna, "openai", OTHER_KEY)).is_usable
    assert await kept.keys.key_of(kept.anna, await kept.provider()) == OTHER_KEY


async def test_a_database_that_is_away_is_an_error_and_not_a_missing_key(kept: Kept) -> None:
    """Else the organisation's key would be spent."""
    provider = await kept.provider()
    await kept.database.close()

    with pytest.raises(StoreError):
        await kept.keys.key_of(kept.anna, provider)


# -- rotation -------------------------------------------------------------------------------------------------------


async def test_rotation_encrypts_everything_with_the_first_key(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several steps; then the old key can go, and doing it again changes nothing."""
    monkeypatch.setattr(gateway.provider_keys, "ROTATED_AT_ONCE", 2)
    for user in (kept.anna, kept.ben):
        for provider in ("openai", "anthropic"):
            await kept.keys.set(user, provider, KEY)
    both = kept.under([SECOND, FIRST])
    await both.set(kept.ben, "openai", OTHER_KEY)
    kept.clock.now += timedelta(days=1)

    assert await both.rotate() == Rotation(3, 1, ())
    assert await kept.under([SECOND]).key_of(kept.anna, await kept.provider("anthropic")) == KEY
    assert await kept.under([SECOND]).key_of(kept.ben, await kept.provider()) == OTHER_KEY
    assert {one.updated_at for one in await both.list(kept.anna)} == {NOON}
    sealed = await kept.sealed()
    assert await both.rotate() == Rotation(0, 4, ())
    assert await kept.sealed() == sealed


async def test_rotation_names_what_no_key_opens_and_leaves_it(kept: Kept) -> None:
    """The lost encryption key may be found again."""
    await kept.keys.set(kept.anna, "openai", KEY)
    [sealed] = await kept.sealed()
    await kept.under([SECOND]).set(kept.ben, "openai", KEY)

    assert await kept.under([SECOND]).rotate() == Rotation(0, 1, (Unusable("anna", "openai"),))

    assert sealed in await kept.sealed()


async def test_what_is_set_while_rotating_stays(kept: Kept) -> None:
    """Rotation has read the old one by then."""
    await kept.keys.set(kept.anna, "openai", KEY)
    both = kept.under([SECOND, FIRST])
    database = kept.database

    class Interrupted:
        """The database, with a user who is quick."""

        def __getattr__(self, name: str) -> object:
            return getattr(database, name)

        async def transaction(self, statements: object) -> None:
            await both.set(kept.anna, "openai", OTHER_KEY)
            await database.transaction(statements)  # type: ignore[arg-type]

    await ProviderKeys(Interrupted(), [SECOND, FIRST]).rotate()  # type: ignore[arg-type]

    assert await both.key_of(kept.anna, await kept.provider()) == OTHER_KEY


# -- secrecy --------------------------------------------------------------------------------------------------------


async def test_the_key_is_nowhere(kept: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the database, its files, the log, or what anything says of itself."""
    caplog.set_level(logging.DEBUG)
    stored = await kept.keys.set(kept.anna, "openai", KEY)
    listed = await kept.keys.list(kept.anna)
    rotation = await kept.under([SECOND, FIRST]).rotate()
    rows = await kept.database.fetch("SELECT * FROM user_ai_provider_keys")
    await kept.rows.seed([ProviderOptions(type="anthropic", name="openai")])

    await kept.database.close()
    said = f"{stored!r}{listed!r}{rotation!r}{kept.keys!r}{vars(kept.keys)!r}{rows}{caplog.text}"
    files = contents(tmp_path)
    assert len(rows) == 1
    for secret in (KEY, FIRST, SECOND):
        assert secret.reveal_secret_value() not in said
        assert secret.reveal_secret_value().encode() not in files


def contents(folder: Path) -> bytes:
    """Of every file below; nothing, where the database is a server's."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
