from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.accounts import (
    AccountError,
    Accounts,
    BadLifetime,
    BadName,
    BadRole,
    DatabaseAuthenticator,
    DuplicateName,
    NewKey,
    UnknownKey,
    UnknownUser,
    UserNotActive,
)
from middleware.auth import Authenticator
from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity
from providers.secret import Secret
from recorders.stores.urls import database_for
from tests.recorders.stores.databases import database_at
from tests.recorders.stores.line import line_to

DAY = timedelta(days=1)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class House:
    """Accounts, the authenticator beside them, and the clock of both."""

    def __init__(self, database_url: str) -> None:
        self.database = database_for(database_url)
        self.clock = Clock()
        self.accounts = Accounts(self.database, clock=self.clock)
        self.authenticator: Authenticator = DatabaseAuthenticator(self.database, clock=self.clock)

    async def anna(self, lifetime: timedelta | None = None, role: str = "member") -> NewKey:
        await self.accounts.create_user("anna", role)
        return await self.accounts.create_key("anna", lifetime)

    async def reason(self, token: str | Secret) -> str:
        """Why a token is refused; the public message is the same for each."""
        with pytest.raises(Unauthorized, match=r"^unauthorized$") as caught:
            await self.authenticator.authenticate(token if isinstance(token, Secret) else Secret(token))
        return caught.value.reason


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    """Once for each kind of database."""
    house = House(database_url)
    await house.database.open()
    yield house
    await house.database.close()


# -- users ----------------------------------------------------------------------------------------------------------


async def test_a_created_user_is_found_by_name_in_any_case(house: House) -> None:
    """And kept as it was written."""
    user = await house.accounts.create_user("Anna", "auditor")

    assert await house.accounts.get_user("aNNa") == user
    assert (user.name, user.role, user.status, user.is_system) == ("Anna", "auditor", "active", False)
    assert user.created_at == house.clock.now
    assert await house.accounts.list_users() == [user]


async def test_a_name_is_taken_once_in_any_case(house: House) -> None:
    """Two users that look alike would be one too many."""
    await house.accounts.create_user("anna")

    with pytest.raises(DuplicateName, match=r"There is already a user 'ANNA'\."):
        await house.accounts.create_user("ANNA")


@pytest.mark.parametrize(
    "name", ["", " anna", "-anna", "a b", "a\n", "ännä", "a\x00", "a" * 65, "a';--", "../x"]
)
async def test_a_name_that_could_be_misread_is_refused(house: House, name: str) -> None:
    """It appears in tables, logs and headers."""
    with pytest.raises(BadName, match="can't be the name of a user"):
        await house.accounts.create_user(name)


@pytest.mark.parametrize("name", ["a", "Anna.B-c_d", "anna+x@example.com", "7", "a" * 64])
async def test_ordinary_names_are_taken(house: House, name: str) -> None:
    """Mail addresses among them."""
    assert (await house.accounts.create_user(name)).name == name


async def test_an_unknown_role_is_refused_with_the_known_ones(house: House) -> None:
    """The person learns what to write instead."""
    with pytest.raises(BadRole, match="'root' is no role: it is one of member, auditor, admin"):
        await house.accounts.create_user("anna", "root")


async def test_the_name_of_a_deleted_user_is_free_and_its_keys_stay_dead(house: House) -> None:
    """The new user is another one."""
    key = await house.anna()
    old = await house.accounts.delete_user("anna")
    assert old.status == "deleted"
    assert await house.accounts.list_users() == []

    new = await house.accounts.create_user("anna")

    assert new.id != old.id
    assert await house.reason(key.token) == f"the user of key {key.key.id} is deleted"


@pytest.mark.parametrize("name", ["nobody", "", "a\x00", "\ud800", "x' OR '1'='1", "ä"])
async def test_an_unknown_user_is_named_in_the_error(house: House, name: str) -> None:
    """Whatever the name is made of, and whatever is asked."""
    await house.anna()
    accounts = house.accounts
    for ask in (accounts.get_user, accounts.suspend_user, accounts.activate_user, accounts.delete_user):
        with pytest.raises(UnknownUser, match=r"^There is no user "):
            await ask(name)
    for ask_keys in (accounts.list_keys, accounts.create_key):
        with pytest.raises(UnknownUser):
            await ask_keys(name)


# -- keys -----------------------------------------------------------------------------------------------------------


async def test_a_token_is_an_id_and_a_secret_of_which_only_a_hash_is_kept(house: House) -> None:
    """Nobody who reads the database can call."""
    new = await house.anna()
    key_id, _, secret = new.token.reveal_secret_value().partition("-")

    assert key_id == new.key.id
    assert len(key_id) == 10
    assert len(secret) >= 22
    assert (key_id + secret).isalnum()
    assert secret not in repr(new)
    for table in ("users", "api_keys"):
        rows = await house.database.fetch(f"SELECT * FROM {table}")
        assert rows
        assert secret not in str(rows)


async def test_tokens_are_all_different(house: House) -> None:
    """IDs as well as secrets."""
    await house.accounts.create_user("anna")
    tokens = [(await house.accounts.create_key("anna")).token.reveal_secret_value() for _ in range(20)]

    assert len({part for token in tokens for part in token.split("-")}) == 40


async def test_keys_are_listed_for_all_and_for_one_user(house: House) -> None:
    """Oldest first, with their owners, revoked ones too."""
    anna = (await house.anna()).key
    house.clock.now += DAY
    await house.accounts.create_user("ben")
    ben = (await house.accounts.create_key("ben", DAY)).key
    revoked = await house.accounts.revoke_key(anna.id)

    assert await house.accounts.list_keys() == [revoked, ben]
    assert await house.accounts.list_keys("ben") == [ben]
    assert ben.expires_at == house.clock.now + DAY
    assert [revoked.is_alive(house.clock.now), ben.is_alive(house.clock.now)] == [False, True]
    assert not ben.is_alive(house.clock.now + DAY)


async def test_revoking_again_keeps_the_time_of_the_first(house: House) -> None:
    """The record of when it ended doesn't change."""
    key = (await house.anna()).key
    first = await house.accounts.revoke_key(key.id)
    house.clock.now += DAY

    assert (await house.accounts.revoke_key(key.id)).revoked_at == first.revoked_at


async def test_a_deleted_key_is_forgotten_and_the_calls_that_were_made_with_it_are_not(house: House) -> None:
    """Records name a key by its ID, so they need no row of it."""
    deleted, kept = (await house.anna()).key, (await house.accounts.create_key("anna")).key
    await house.database.execute(
        "INSERT INTO aibridge_interceptions (id, api_key_id) VALUES (?, ?)", "call", deleted.id
    )

    assert await house.accounts.delete_key(deleted.id) == deleted

    assert await house.accounts.list_keys() == [kept]
    calls = await house.database.fetch("SELECT api_key_id FROM aibridge_interceptions")
    assert [call["api_key_id"] for call in calls] == [deleted.id]
    with pytest.raises(Unauthorized):
        await house.authenticator.identify(deleted.id)
    with pytest.raises(UnknownKey):
        await house.accounts.delete_key(deleted.id)


async def test_an_unknown_key_is_an_error_that_never_repeats_a_token(house: House) -> None:
    """People paste the whole token where its ID is asked for."""
    token = (await house.anna()).token.reveal_secret_value()

    with pytest.raises(UnknownKey, match=r"There is no key 'AAAAAAAAAA'\."):
        await house.accounts.revoke_key("AAAAAAAAAA")
    with pytest.raises(UnknownKey) as caught:
        await house.accounts.revoke_key(token)
    assert token[11:] not in str(caught.value)
    assert (await house.authenticator.identify(token[:10])).username == "anna"


@pytest.mark.parametrize("lifetime", [timedelta(), -DAY, timedelta.max])
async def test_a_lifetime_that_makes_no_sense_is_refused(house: House, lifetime: timedelta) -> None:
    """No key is made that is dead at once or outlives the calendar."""
    await house.accounts.create_user("anna")

    with pytest.raises(BadLifetime):
        await house.accounts.create_key("anna", lifetime)


async def test_who_cannot_call_gets_no_key(house: House) -> None:
    """A system user never, a suspended one not now."""
    await house.accounts.create_user("robot", is_system=True)
    await house.accounts.create_user("anna")
    await house.accounts.suspend_user("anna")

    with pytest.raises(UserNotActive, match="a system user"):
        await house.accounts.create_key("robot")
    with pytest.raises(UserNotActive, match="suspended"):
        await house.accounts.create_key("anna")


def test_every_mistake_of_a_person_is_an_account_error() -> None:
    """A command or an API catches one type."""
    for error in (UnknownUser, UnknownKey, BadName, BadRole, BadLifetime, DuplicateName, UserNotActive):
        assert issubclass(error, AccountError)


# -- who is calling -------------------------------------------------------------------------------------------------


async def test_a_token_gives_the_identity_of_its_user(house: House) -> None:
    """ID, name, key and role, also for a caller in this process who names the key alone."""
    new = await house.anna(role="admin")
    user = await house.accounts.get_user("anna")
    identity = Identity(user.id, "anna", new.key.id, "admin")

    assert await house.authenticator.authenticate(new.token) == identity
    assert await house.authenticator.identify(new.key.id) == identity


async def test_a_wrong_secret_is_refused_even_when_all_but_its_last_character_is_right(house: House) -> None:
    """Two tokens with a long common prefix are two tokens."""
    token = (await house.anna()).token.reveal_secret_value()
    other = token[:-1] + ("A" if token[-1] != "A" else "B")

    assert await house.reason(other) == f"the secret of key {token[:10]} is wrong"
    assert await house.reason(token + "A") == f"the secret of key {token[:10]} is wrong"


async def test_the_secret_of_another_key_is_wrong(house: House) -> None:
    """Secrets belong to their key, also of the same user."""
    first = (await house.anna()).token.reveal_secret_value()
    second = (await house.accounts.create_key("anna")).token.reveal_secret_value()

    assert "is wrong" in await house.reason(first[:11] + second[11:])


@pytest.mark.parametrize(
    "token",
    [
        "",
        "-",
        "delegated",
        "AAAAAAAAAA",
        "AAAAAAAAAA-",
        "AAAAAAAAAA-short",
        "AAAAAAAAAA-" + "x" * 129,
        "AAAAAAAAAA-" + "x" * 1_000_000,
        "AAAAAAAAAA-' OR '1'='1' -- xxxxxxxxxx",
        "' OR 1=1 ---AAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAAA\x00",
        "AAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAAA\n",
        "AAAAAAAAA\x00-AAAAAAAAAAAAAAAAAAAAAAAA",
        "ÄÄÄÄÄÄÄÄÄÄ-ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ",
        "AAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAAA\ud800",
        "\u0660" * 10 + "-" + "\u0660" * 24,
    ],
    ids=lambda token: ascii(token[:40]),
)
async def test_what_is_no_token_is_refused_without_being_repeated(house: House, token: str) -> None:
    """Odd bytes reach neither the database nor the reason."""
    assert await house.reason(token) == "the token has not the form of one of ours"


async def test_an_unknown_key_is_refused_like_a_wrong_one(house: House) -> None:
    """The caller can't tell the two apart."""
    assert await house.reason("AAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAAAA") == "there is no key AAAAAAAAAA"


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    """With its secret and without."""
    new = await house.anna()
    await house.accounts.revoke_key(new.key.id)

    assert await house.reason(new.token) == f"key {new.key.id} is revoked"
    with pytest.raises(Unauthorized):
        await house.authenticator.identify(new.key.id)


async def test_a_key_is_good_until_the_moment_it_expires(house: House) -> None:
    """And not for that moment."""
    new = await house.anna(DAY)
    house.clock.now += DAY - timedelta(microseconds=1)
    assert (await house.authenticator.authenticate(new.token)).username == "anna"

    house.clock.now += timedelta(microseconds=1)

    assert await house.reason(new.token) == f"key {new.key.id} has expired"


async def test_a_suspended_user_is_refused_until_activated(house: House) -> None:
    """The keys themselves stay as they are."""
    new = await house.anna()
    await house.accounts.suspend_user("anna")
    assert await house.reason(new.token) == f"the user of key {new.key.id} is suspended"
    assert (await house.accounts.get_key(new.key.id)).user_status == "suspended"

    await house.accounts.activate_user("anna")

    assert (await house.authenticator.authenticate(new.token)).username == "anna"


async def test_a_system_user_cannot_call_even_with_a_key(house: House) -> None:
    """Should a key of one exist, it opens nothing."""
    new = await house.anna()
    await house.database.execute("UPDATE users SET is_system = ?", True)

    assert await house.reason(new.token) == f"the user of key {new.key.id} is a system user"


@pytest.mark.parametrize(
    "key_id", ["", "AAAAAAAAAA", "AAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAAAA", "' OR 1=1;", "A\x00"]
)
async def test_a_key_id_that_is_none_identifies_nobody(house: House, key_id: str) -> None:
    """A whole token isn't a key ID either."""
    await house.anna()
    with pytest.raises(Unauthorized):
        await house.authenticator.identify(key_id)


async def test_a_database_that_fails_is_no_word_against_the_token(house: House) -> None:
    """503, never 401 or 403."""
    new = await house.anna()
    await house.database.close()

    with pytest.raises(AuthorityUnreachable):
        await house.authenticator.authenticate(new.token)
    with pytest.raises(AuthorityUnreachable):
        await house.authenticator.identify(new.key.id)


async def test_an_outage_of_postgresql_is_no_word_against_a_token(postgres_url: str) -> None:
    """503, never 401 or 403: gone, hanging, and with a table that can't be read; each goes by itself."""
    async with line_to(postgres_url) as line:
        database = database_at(line.url, connect_timeout_s=0.3, statement_timeout_s=0.3, grace_s=0.3)
        await database.open()
        accounts, authenticator = Accounts(database), DatabaseAuthenticator(database)
        await accounts.create_user("anna")
        token = (await accounts.create_key("anna")).token

        await line.cut()
        with pytest.raises(AuthorityUnreachable):
            await authenticator.authenticate(token)
        await line.mend()
        line.hold()
        with pytest.raises(AuthorityUnreachable):
            await authenticator.authenticate(token)
        await line.mend()
        assert (await authenticator.authenticate(token)).username == "anna"
        await database.execute("ALTER TABLE users RENAME TO away")
        with pytest.raises(AuthorityUnreachable):
            await authenticator.authenticate(token)
        await database.close()
