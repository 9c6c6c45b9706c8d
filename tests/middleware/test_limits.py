"""The limits, as the table of their behaviour: who is refused, what a slot outlives, and what a key may spend."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.errors import AtCapacity, RateLimited
from middleware.exchange import Exchange
from middleware.limits import LimitsMiddleware
from tests.asgi import call, drive
from tests.middleware.exchanges import (
    CALLER,
    CHAT_BODY,
    Inward,
    chunk,
    known_scope,
    raising,
    read_body,
    start,
)

BROKEN = RuntimeError("the stream broke")


@dataclass
class Time:
    """Time that passes when the test says so."""

    now_s: float = 1000.0

    def clock(self) -> float:
        return self.now_s


def scope_of(key: str = "key-1", path: str = "/v1/chat/completions", method: str = "POST") -> Scope:
    return known_scope(path, method=method, caller=dataclasses.replace(CALLER, api_key_id=key))


async def spend(layer: ASGIApp, key: str = "key-1") -> int | None:
    """One request of a key: None where it passed, else the seconds that it was told to wait."""
    try:
        await call(layer, scope_of(key), CHAT_BODY)
    except RateLimited as refused:
        return refused.retry_after_s
    return None


class Held:
    """An application that answers half, and ends when and how the test says."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start())
        await send(chunk(b"half"))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        await send(chunk(b"", more=False))


# -- requests at once -------------------------------------------------------------------------------------------------


async def test_one_more_than_the_limit_is_refused_with_503() -> None:
    """At once, with the documented words, and without reading its body."""
    app = Held()
    layer = LimitsMiddleware(app, max_concurrency=2)
    async with (
        drive(layer, scope_of(), body=CHAT_BODY) as one,
        drive(layer, scope_of(), body=CHAT_BODY) as two,
    ):
        await one.message(1)
        await two.message(1)
        async with drive(layer, scope_of("another"), body=CHAT_BODY) as three:
            refused = await three.failed()
        assert isinstance(refused, AtCapacity)
        assert (refused.status, refused.retry_after_s) == (503, None)
        assert refused.message == "AI Gateway is currently at capacity. Please try again later."
        assert three.receive_calls == 0
        app.gate.set()
        await one.completed()
        await two.completed()


@pytest.mark.parametrize("ending", ["whole", "broken", "cancelled"])
async def test_a_slot_is_held_until_the_answer_ends_and_given_back_however_it_does(ending: str) -> None:
    """A stream that has begun still holds it; the last byte, a break and a cancellation all free it."""
    app = Held()
    layer = LimitsMiddleware(app, max_concurrency=1)
    async with drive(layer, scope_of(), body=CHAT_BODY) as first:
        await first.message(1)
        with pytest.raises(AtCapacity):
            await call(layer, scope_of(), CHAT_BODY)
        app.failure = BROKEN if ending == "broken" else None
        if ending == "cancelled":
            first.cancel()
        app.gate.set()
        await first.ended()
        failure = first.exception
        assert failure is None if ending == "whole" else failure is not None
        if failure is not None:
            await first.failed()
    app.failure = None
    await call(layer, scope_of(), CHAT_BODY)


async def test_a_failure_before_the_answer_gives_the_slot_back_too() -> None:
    """Whatever the layers inside raise."""
    layer = LimitsMiddleware(raising(BROKEN), max_concurrency=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="the stream broke"):
            await call(layer, scope_of(), CHAT_BODY)


async def test_a_refused_request_takes_no_slot() -> None:
    """Else refusals would add up until nobody gets in."""
    time, inward = Time(), Inward()
    layer = LimitsMiddleware(inward, max_concurrency=1, rate_limit=1, clock=time.clock)
    assert [await spend(layer) for _ in range(4)] == [None, 1, 1, 1]
    assert await spend(layer, "another") is None


# -- requests a second ------------------------------------------------------------------------------------------------


async def test_a_key_may_spend_a_second_s_worth_and_is_refused_with_429_then() -> None:
    """With the documented words and `Retry-After`; the next part of a second brings the next request."""
    time = Time()
    layer = LimitsMiddleware(Inward(), rate_limit=4, clock=time.clock)
    assert [await spend(layer) for _ in range(6)] == [None, None, None, None, 1, 1]
    time.now_s += 0.25
    assert [await spend(layer) for _ in range(2)] == [None, 1]
    with pytest.raises(RateLimited) as refused:
        await call(layer, scope_of(), CHAT_BODY)
    assert refused.value.status == 429
    assert refused.value.message == "You've been rate limited. Please try again later."


async def test_what_is_not_spent_does_not_add_up() -> None:
    """After an hour of silence a key may come as often as after a second."""
    time = Time()
    layer = LimitsMiddleware(Inward(), rate_limit=2, clock=time.clock)
    time.now_s += 3600
    assert [await spend(layer) for _ in range(3)] == [None, None, 1]


async def test_keys_have_nothing_to_do_with_each_other() -> None:
    """Also those of one user; and one key counts over all instances and routes."""
    layer = LimitsMiddleware(Inward(), rate_limit=1, clock=Time().clock)
    assert [await spend(layer, key) for key in ("one", "two", "one", "two")] == [None, None, 1, 1]
    with pytest.raises(RateLimited):
        await call(layer, scope_of("one", "/v1/models", "GET"))


async def test_a_passed_through_route_counts_like_a_recorded_one() -> None:
    """The limit is about requests, not about records."""
    layer = LimitsMiddleware(Inward(), rate_limit=1, clock=Time().clock)
    await call(layer, scope_of(path="/v1/models", method="GET"))
    assert await spend(layer) == 1


async def test_requests_without_a_caller_share_one_limit() -> None:
    """Where a host has no authentication, nobody is unlimited."""
    layer = LimitsMiddleware(Inward(), rate_limit=1, clock=Time().clock)
    scopes = [scope_of(), scope_of()]
    for scope in scopes:
        Exchange.of(scope).caller = None
    await call(layer, scopes[0], CHAT_BODY)
    with pytest.raises(RateLimited):
        await call(layer, scopes[1], CHAT_BODY)


async def test_only_the_keys_that_came_last_are_remembered() -> None:
    """Memory is bounded: the key that came longest ago starts anew."""
    layer = LimitsMiddleware(Inward(), rate_limit=1, max_keys=2, clock=Time().clock)
    asked = ["one", "two", "one", "three", "one", "two"]
    assert [await spend(layer, key) for key in asked] == [None, None, 1, None, 1, None]


# -- the rest ---------------------------------------------------------------------------------------------------------


async def test_without_limits_everything_passes() -> None:
    """0 is no limit, and counts nothing."""
    layer, scope = LimitsMiddleware(Inward()), scope_of()
    for _ in range(100):
        assert await spend(layer) is None
    await call(layer, scope, CHAT_BODY)
    assert Exchange.of(scope).admitted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_concurrency": -1}, "max_concurrency must not be negative: -1"),
        ({"rate_limit": -1}, "rate_limit must not be negative: -1"),
        ({"max_keys": 0}, "max_keys must be positive: 0"),
    ],
)
def test_a_bad_option_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    """At start-up, not at the first request."""
    with pytest.raises(ValueError, match=message):
        LimitsMiddleware(Inward(), **options)
