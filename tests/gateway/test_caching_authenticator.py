from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.caching_authenticator import RETRY_S, CachingAuthenticator
from middleware.auth import Authenticator
from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity
from providers.secret import Secret
from tests.waiting import PATIENCE_S, Changes

TTL_S, GRACE_S = 10.0, 100.0


class Authority:
    """Knows the tokens that begin with `good`; can be away, hang, or break; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self.revoked: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.end: asyncio.Event | None = None
        self.error: Exception | None = None
        self.changes = Changes()

    async def authenticate(self, token: Secret) -> Identity:
        return await self._answer(token.reveal_secret_value())

    async def identify(self, api_key_id: str) -> Identity:
        return await self._answer(api_key_id)

    async def _answer(self, text: str) -> Identity:
        self.asked.append(text)
        self.changes.notify()
        if self.gate is not None:
            try:
                await self.gate.wait()
            finally:
                if self.end is not None and not self.gate.is_set():
                    await self.end.wait()
        if self.error is not None:
            raise self.error
        if self.away:
            raise AuthorityUnreachable
        if not text.startswith("good") or text in self.revoked:
            raise Unauthorized(f"{len(text)} characters")
        return Identity(f"user of {text}", text, text)


class Cached:
    """An authority, a cache around it, and a clock."""

    def __init__(self, *, ttl_s: float = TTL_S, max_entries: int = 100, timeout_s: float = 60.0) -> None:
        self.now = 0.0
        self.authority = Authority()
        self.cache = CachingAuthenticator(
            self.authority,
            ttl_s=ttl_s,
            grace_s=GRACE_S,
            max_entries=max_entries,
            timeout_s=timeout_s,
            clock=lambda: self.now,
        )

    async def ask(self, token: str) -> str:
        return (await self.cache.authenticate(Secret(token))).username

    async def idle(self) -> None:
        """Until no question is open."""
        if self.cache._asking:
            await asyncio.wait(self.cache._asking.values())


async def test_an_identity_is_remembered_for_its_time_and_then_asked_for_again() -> None:
    """The authority is asked once in ten seconds, not with every request."""
    cached = Cached()
    for cached.now in (0.0, 5.0, TTL_S - 0.1):
        assert await cached.ask("good") == "good"
    assert cached.authority.asked == ["good"]

    cached.now = TTL_S
    await cached.ask("good")

    assert cached.authority.asked == ["good", "good"]


async def test_a_refusal_is_remembered_too_with_its_reason() -> None:
    """A client that tries a dead key again and again doesn't burden the authority."""
    cached = Cached()
    for cached.now in (0.0, TTL_S - 0.1, TTL_S):
        with pytest.raises(Unauthorized) as caught:
            await cached.ask("bad")
        assert caught.value.reason == "3 characters"

    assert cached.authority.asked == ["bad", "bad"]


async def test_two_tokens_with_a_long_common_prefix_never_meet() -> None:
    """Neither do a known and a wrong one, nor does a hash collide on odd characters."""
    cached = Cached()
    prefix = "good" + "x" * 10_000
    assert await cached.ask(prefix + "a") == prefix + "a"
    assert await cached.ask(prefix + "b") == prefix + "b"
    cached.authority.revoked.add(prefix + "c")

    with pytest.raises(Unauthorized):
        await cached.ask(prefix + "c")
    for odd in ("good\x00", "good\ud800", "goodü", "good' OR 1=1"):
        assert await cached.ask(odd) == odd


async def test_a_key_id_and_a_token_of_the_same_text_never_meet() -> None:
    """Whoever knows an ID can't use it as a token because somebody was identified by it."""
    cached = Cached()
    await cached.cache.identify("good")
    cached.authority.revoked.add("good")

    with pytest.raises(Unauthorized):
        await cached.ask("good")
    assert (await cached.cache.identify("good")).username == "good"


async def test_no_token_is_kept_in_memory() -> None:
    """What is remembered lies under a hash."""
    cached = Cached()
    await cached.ask("good-secret")
    with pytest.raises(Unauthorized):
        await cached.ask("bad-secret")

    keys = [*cached.cache._known, *cached.cache._refused]
    assert len(keys) == 2
    assert all(len(key) == 32 and b"secret" not in key for key in keys)


async def test_a_revoked_key_ends_with_its_time_and_gets_no_grace() -> None:
    """The grace is for an authority that is away, not for one that says no."""
    cached = Cached()
    await cached.ask("good")
    cached.authority.revoked.add("good")
    cached.now = TTL_S
    with pytest.raises(Unauthorized):
        await cached.ask("good")
    cached.authority.away = True
    cached.now = 2 * TTL_S

    with pytest.raises(AuthorityUnreachable):
        await cached.ask("good")


async def test_a_key_that_becomes_good_is_known_after_the_refusals_time() -> None:
    """A user who is activated again needs no restart."""
    cached = Cached()
    cached.authority.revoked.add("good")
    with pytest.raises(Unauthorized):
        await cached.ask("good")
    cached.authority.revoked.clear()
    cached.now = TTL_S

    assert await cached.ask("good") == "good"


async def test_while_the_authority_is_away_known_identities_go_on_for_the_grace() -> None:
    """And not a moment longer; then it is 503, never 403."""
    cached = Cached()
    await cached.ask("good")
    cached.authority.away = True
    for cached.now in (TTL_S, TTL_S + 50, TTL_S + GRACE_S - 0.1):
        assert await cached.ask("good") == "good"

    cached.now = TTL_S + GRACE_S
    with pytest.raises(AuthorityUnreachable):
        await cached.ask("good")


async def test_while_the_authority_is_away_unknown_tokens_get_503_and_are_not_remembered_as_bad() -> None:
    """As soon as it is back, they are asked for."""
    cached = Cached()
    cached.authority.away = True
    with pytest.raises(AuthorityUnreachable):
        await cached.ask("good")
    cached.authority.away = False

    assert await cached.ask("good") == "good"


async def test_during_an_outage_a_known_identity_is_asked_for_once_a_second() -> None:
    """Its requests don't each wait for a dead authority; when it is back, its word counts again."""
    cached = Cached()
    await cached.ask("good")
    cached.authority.away = True
    for cached.now in (TTL_S, TTL_S + 0.3, TTL_S + RETRY_S - 0.1, TTL_S + RETRY_S):
        await cached.ask("good")
        await cached.idle()
    assert len(cached.authority.asked) == 3
    cached.authority.away = False
    cached.authority.revoked.add("good")
    cached.now += RETRY_S
    await cached.ask("good")
    await cached.idle()

    with pytest.raises(Unauthorized):
        await cached.ask("good")


async def test_only_the_first_request_of_an_outage_waits_for_an_authority_that_hangs() -> None:
    """The others are answered at once, while the question is open."""
    cached = Cached()
    await cached.ask("good")
    cached.authority.away = True
    cached.now = TTL_S
    await cached.ask("good")
    cached.authority.gate = asyncio.Event()
    cached.now += RETRY_S

    for _ in range(3):
        async with asyncio.timeout(PATIENCE_S):
            assert await cached.ask("good") == "good"
    await cached.authority.changes.until(lambda: len(cached.authority.asked) == 3, "the question")
    cached.authority.gate.set()
    await cached.idle()
    assert len(cached.authority.asked) == 3


async def test_a_key_revoked_in_an_outage_is_refused_when_nobody_asked_for_a_while() -> None:
    """An old answer given for want of a newer one counts for seconds, not for the rest of the grace."""
    cached = Cached(timeout_s=5.0)
    await cached.ask("good")
    cached.authority.away = True
    cached.now = TTL_S
    await cached.ask("good")
    cached.authority.away = False
    cached.authority.revoked.add("good")
    cached.now += RETRY_S + 5.0

    with pytest.raises(Unauthorized):
        await cached.ask("good")


async def test_a_question_that_takes_long_to_end_is_waited_for_no_longer_than_one_that_does_not() -> None:
    """A driver may ask its server, which hangs, to cancel the query."""
    cached = Cached(timeout_s=0.01)
    cached.authority.gate = asyncio.Event()
    cached.authority.end = asyncio.Event()

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(AuthorityUnreachable):
            await cached.ask("good")
    cached.authority.gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await cached.ask("good") == "good"
    await cached.cache.close()
    assert not cached.cache._answers


async def test_an_authority_that_hangs_counts_as_away() -> None:
    """A slow one can't hold a worker."""
    cached = Cached(timeout_s=0.01)
    await cached.ask("good")
    cached.authority.gate = asyncio.Event()
    cached.now = TTL_S

    assert await cached.ask("good") == "good"
    with pytest.raises(AuthorityUnreachable):
        await cached.ask("good too")


async def test_callers_with_one_token_share_one_question() -> None:
    """A burst of a hundred requests asks once."""
    cached = Cached()
    cached.authority.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(cached.ask("good")) for _ in range(100)]
        await cached.authority.changes.until(lambda: bool(cached.authority.asked), "the question")
        cached.authority.gate.set()

    assert {task.result() for task in tasks} == {"good"}
    assert cached.authority.asked == ["good"]


async def test_a_caller_that_leaves_does_not_take_the_answer_from_the_others() -> None:
    """Not even the one who asked first."""
    cached = Cached()
    cached.authority.gate = asyncio.Event()
    first = asyncio.create_task(cached.ask("good"))
    await cached.authority.changes.until(lambda: bool(cached.authority.asked), "the question")
    second = asyncio.create_task(cached.ask("good"))
    first.cancel()
    await asyncio.wait({first})
    cached.authority.gate.set()

    assert await second == "good"
    assert first.cancelled()
    assert cached.authority.asked == ["good"]


async def test_an_answer_that_nobody_waits_for_any_more_is_remembered_and_disturbs_nobody() -> None:
    """Nothing is left behind, and no exception goes unseen."""
    cached = Cached()
    cached.authority.gate = asyncio.Event()
    only = asyncio.create_task(cached.ask("bad"))
    await cached.authority.changes.until(lambda: bool(cached.authority.asked), "the question")
    (question,) = cached.cache._asking.values()
    only.cancel()
    await asyncio.wait({only})
    cached.authority.gate.set()
    await asyncio.wait({question})

    with pytest.raises(Unauthorized):
        await cached.ask("bad")
    assert cached.authority.asked == ["bad"]
    assert not cached.cache._asking


async def test_each_of_several_waiting_callers_gets_an_exception_of_its_own() -> None:
    """One object raised in two tasks would grow a traceback of both."""
    cached = Cached()
    answers = await asyncio.gather(cached.ask("bad"), cached.ask("bad"), return_exceptions=True)

    first, second = answers
    assert isinstance(first, Unauthorized)
    assert isinstance(second, Unauthorized)
    assert first is not second


async def test_another_error_of_the_authority_comes_out_and_is_not_remembered() -> None:
    """A bug is neither a refusal nor an outage."""
    cached = Cached()
    cached.authority.error = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        await cached.ask("good")
    cached.authority.error = None

    assert await cached.ask("good") == "good"


async def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    """The memory is bounded; an identity in use stays."""
    cached = Cached(max_entries=2)
    for token in ("good1", "good2", "good1", "good3"):
        await cached.ask(token)
    cached.authority.asked.clear()

    for token in ("good1", "good3", "good2"):
        await cached.ask(token)

    assert cached.authority.asked == ["good2"]


async def test_a_flood_of_wrong_tokens_drives_out_no_good_one_and_is_bounded() -> None:
    """Refusals have a memory of their own."""
    cached = Cached(max_entries=10)
    await cached.ask("good")
    for number in range(100):
        with pytest.raises(Unauthorized):
            await cached.ask(f"bad{number}")
    cached.authority.asked.clear()

    assert await cached.ask("good") == "good"
    assert cached.authority.asked == []
    assert len(cached.cache._refused) == 10


async def test_open_questions_are_bounded_too() -> None:
    """A flood during an outage gets 503 at once."""
    cached = Cached(max_entries=1)
    cached.authority.gate = asyncio.Event()
    first = asyncio.create_task(cached.ask("good1"))
    await cached.authority.changes.until(lambda: bool(cached.authority.asked), "the question")

    with pytest.raises(AuthorityUnreachable):
        await cached.ask("good2")
    cached.authority.gate.set()

    assert await first == "good1"


async def test_a_flood_during_an_outage_drives_out_no_known_identity() -> None:
    """It can't be asked about, which is what the grace is for."""
    cached = Cached(max_entries=1)
    await cached.ask("good1")
    cached.now = TTL_S
    cached.authority.gate = asyncio.Event()
    flood = asyncio.create_task(cached.ask("good2"))
    await cached.authority.changes.until(lambda: len(cached.authority.asked) == 2, "the flood")

    assert await cached.ask("good1") == "good1"
    cached.authority.gate.set()
    assert await flood == "good2"


async def test_without_a_time_to_live_every_request_asks_and_the_grace_remains() -> None:
    """`0` turns remembering off, not the protection against an outage."""
    cached = Cached(ttl_s=0)
    await cached.ask("good")
    await cached.ask("good")
    assert len(cached.authority.asked) == 2
    cached.authority.away = True

    assert await cached.ask("good") == "good"


async def test_closing_ends_open_questions_with_503() -> None:
    """Nothing is left running at shutdown."""
    cached = Cached()
    cached.authority.gate = asyncio.Event()
    waiting = asyncio.create_task(cached.ask("good"))
    await cached.authority.changes.until(lambda: bool(cached.authority.asked), "the question")

    await cached.cache.close()
    await cached.cache.close()

    with pytest.raises(AuthorityUnreachable):
        await waiting


@pytest.mark.parametrize("name", ["authenticate", "identify"])
async def test_it_is_an_authenticator_itself(name: str) -> None:
    """It stands wherever another one could."""
    cached = Cached()
    authenticator: Authenticator = cached.cache
    asks: dict[str, Callable[[], Awaitable[Identity]]] = {
        "authenticate": lambda: authenticator.authenticate(Secret("good")),
        "identify": lambda: authenticator.identify("good"),
    }

    assert (await asks[name]()) == (await asks[name]()) == Identity("user of good", "good", "good")
    assert cached.authority.asked == ["good"]


def test_options_that_make_no_sense_are_refused() -> None:
    """By name and value."""
    authority = Authority()
    with pytest.raises(ValueError, match="ttl_s must not be negative, not -1"):
        CachingAuthenticator(authority, ttl_s=-1, grace_s=0)
    with pytest.raises(ValueError, match="grace_s"):
        CachingAuthenticator(authority, ttl_s=0, grace_s=-1)
    with pytest.raises(ValueError, match="max_entries"):
        CachingAuthenticator(authority, ttl_s=0, grace_s=0, max_entries=0)
    with pytest.raises(ValueError, match="timeout_s"):
        CachingAuthenticator(authority, ttl_s=0, grace_s=0, timeout_s=0)
