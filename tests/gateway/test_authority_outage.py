"""Whom the gateway knows while its database is away: the real chain, from the cache down to PostgreSQL's driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.accounts import Accounts, DatabaseAuthenticator
from gateway.caching_authenticator import CachingAuthenticator
from middleware.errors import AuthorityUnreachable, Unauthorized
from providers.secret import Secret
from recorders.stores.postgres import PostgresDatabase
from tests.recorders.stores.line import Line, line_to

TIMEOUT_S = 0.2
PATIENCE_S = 2.0
"""Far below what PostgreSQL's driver takes by itself to leave a server that hangs."""


@pytest.fixture
async def line(postgres_url: str) -> AsyncIterator[Line]:
    async with line_to(postgres_url) as line:
        yield line


@pytest.fixture
async def database(line: Line) -> AsyncIterator[PostgresDatabase]:
    """As the gateway opens it, but at the other end of the line."""
    database = PostgresDatabase(line.url)
    await database.open()
    yield database
    await line.mend()
    await database.close()


@pytest.fixture
async def authenticator(database: PostgresDatabase) -> AsyncIterator[CachingAuthenticator]:
    """Remembers nothing for longer than it must, so that each request is a question."""
    authenticator = CachingAuthenticator(
        DatabaseAuthenticator(database), ttl_s=0.0, grace_s=60.0, timeout_s=TIMEOUT_S
    )
    yield authenticator
    await authenticator.close()


async def token_of(database: PostgresDatabase, name: str) -> Secret:
    accounts = Accounts(database)
    await accounts.create_user(name)
    return (await accounts.create_key(name)).token


async def fail(line: Line, how: str) -> None:
    if how == "hangs":
        line.hold()
    else:
        await line.cut()


@pytest.mark.parametrize("how", ["hangs", "refuses"])
async def test_a_database_that_is_away_turns_no_valid_key_into_a_refused_one(
    line: Line, database: PostgresDatabase, authenticator: CachingAuthenticator, how: str
) -> None:
    """A known key goes on, one never seen gets 503, both within the deadline; afterwards both are good."""
    known, unseen = await token_of(database, "anna"), await token_of(database, "ben")
    await authenticator.authenticate(known)

    await fail(line, how)
    async with asyncio.timeout(PATIENCE_S):
        assert (await authenticator.authenticate(known)).username == "anna"
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(AuthorityUnreachable):
            await authenticator.authenticate(unseen)

    await line.mend()
    assert (await authenticator.authenticate(unseen)).username == "ben"
    assert (await authenticator.authenticate(known)).username == "anna"


@pytest.mark.parametrize("how", ["hangs", "refuses"])
async def test_a_refused_key_stays_refused_through_an_outage(
    line: Line, database: PostgresDatabase, authenticator: CachingAuthenticator, how: str
) -> None:
    """Meanwhile nobody can say that it is, so it is 503; never an identity."""
    token = await token_of(database, "anna")
    await Accounts(database).revoke_key(token.reveal_secret_value().partition("-")[0])
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(token)

    await fail(line, how)
    with pytest.raises(AuthorityUnreachable):
        await authenticator.authenticate(token)

    await line.mend()
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(token)


async def test_questions_that_hang_keep_no_later_one_from_its_answer(
    line: Line, database: PostgresDatabase, authenticator: CachingAuthenticator
) -> None:
    """More of them than there are connections: each is given up in time, and the pool is whole afterwards."""
    tokens = [await token_of(database, f"user{number}") for number in range(20)]

    line.hold()
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*map(authenticator.authenticate, tokens), return_exceptions=True)
    assert {type(answer) for answer in answers} == {AuthorityUnreachable}

    await line.mend()
    assert (await authenticator.authenticate(tokens[0])).username == "user0"
