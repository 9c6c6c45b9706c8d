"""Tries again where a provider refuses, throttles or can't be reached: with the next central key, or a little later.

Place: outermost on the upstream side, so that each attempt passes the layers below and the layers outside see one
answer: the last. Needs `credential`; sets it anew for each attempt, and `attempt`. Takes from `bonds` what an answer
that its key alone can read again was named by.

- An instance with several central keys is a pool: 401 and 429 let a key rest, and the next one is tried at once, with
  the same bytes. When none is left the client gets 429 with the shortest `Retry-After` if one is rate limited, else
  502. An instance with one key has nothing to fall back to: there 401 and 429 are answers like any other.
- A request that builds on what one account alone can read (an earlier response, encrypted reasoning) stays with the
  key that made it. It waits for that key, or fails with it.
- Connection errors and passing troubles are retried up to `max_retries` times, after the time that the provider told,
  up to a minute, or after a jittered backoff. That holds for users' own credentials too; they never fail over.

Nothing is tried again once an answer has begun to leave, once the client has left, or where the provider was silent
until a timeout, because it may have worked all the while. To know in time, the start of an answer is held until its
status has decided; the rest of one that is given up is read to a limit, so that its connection can be used again.

A request of a user's own credential leaves no trace of that credential in the log. Of each attempt that failed,
`troubles` says what failed it, for those who count.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from middleware.errors import (
    ClientLeft,
    GatewayError,
    KeysExhausted,
    KeysRateLimited,
    UpstreamBroke,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from middleware.exchange import Exchange, with_headers
from providers.base import Credential, Headers, Provider
from providers.key_pool import RATE_LIMITED, UNAUTHORIZED, KeyPool
from providers.retries import (
    LONGEST_BACKOFF_S,
    LONGEST_TOLD_WAIT_S,
    backoff_s,
    is_retried,
    told_wait_s,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("ai_gateway.failover")

EARLY_WAKE_S: Final = 0.05
"""An event loop may wake a little before the time, when the key that was waited for still rests."""

TROUBLE_STATUSES: Final = frozenset({401, 403, 408, 429, *range(500, 600)})
"""Answers that say something of the provider or of our credential there, and nothing of what was asked."""
TIMEOUT_TROUBLES: Final = {
    "connect": "connect_timeout",
    "first byte": "first_byte_timeout",
    "idle": "idle_timeout",
}


@dataclass(frozen=True, slots=True)
class Again:
    """The attempt is given up for another one, after so many seconds."""

    delay_s: float = 0.0


Verdict: TypeAlias = Again | GatewayError | None
"""Try again; give up with our own error; or None: what the provider says is the answer."""


class FailoverMiddleware:
    """`max_retries` counts the attempts after the first, other keys apart; none begins after `deadline_s`.

    What is left of an answer that is given up is read up to `discard_bytes` and `discard_s`. `clock` counts seconds
    and never goes back; `unix_s` is the time of day; `chance` gives numbers from 0 to 1.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"credential"})
    provides: ClassVar[frozenset[str]] = frozenset({"attempt"})

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_retries: int = 2,
        deadline_s: float = 3600.0,
        discard_bytes: int = 64 * 1024,
        discard_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if max_retries < 0:
            raise ValueError(f"max_retries must not be negative: {max_retries}")
        if deadline_s <= 0:
            raise ValueError(f"deadline_s must be positive: {deadline_s}")
        self.app = app
        self.max_retries = max_retries
        self.deadline_s = deadline_s
        self.discard_bytes = discard_bytes
        self.discard_s = discard_s
        self.clock = clock
        self.unix_s = unix_s
        self.sleep = sleep
        self.chance = chance
        self._pools: dict[str, KeyPool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        pool = self._pool(exchange)
        choice = _Choice(pool, exchange.provider, exchange) if pool and exchange.provider else None
        await _Request(self, exchange, choice, _Replay(receive)).run(scope, send)

    @property
    def pools(self) -> Mapping[str, KeyPool]:
        """The pools in use, by the names of their instances."""
        return self._pools

    def _pool(self, exchange: Exchange) -> KeyPool | None:
        """The pool of the instance, where its central keys are what goes upstream and there are several."""
        provider = exchange.provider
        if provider is None or provider.type.byok_only or exchange.credential_kind == "byok":
            return None
        if len(provider.keys) < 2:
            return None
        pool = self._pools.get(provider.name)
        if pool is None:
            pool = self._pools[provider.name] = KeyPool(provider.keys, clock=self.clock)
        elif pool.keys != provider.keys:  # reloaded, or a request that was routed before that
            pool = self._pools[provider.name] = pool.with_keys(provider.keys)
        return pool


class _Request:
    """One request, and how often it was tried."""

    def __init__(
        self, layer: FailoverMiddleware, exchange: Exchange, choice: _Choice | None, body: _Replay
    ) -> None:
        self._layer, self._exchange, self._choice, self._body = layer, exchange, choice, body
        self._credential = exchange.credential
        self._began = layer.clock()
        self._retries = 0

    async def run(self, scope: Scope, send: Send) -> None:
        while True:
            self._exchange.attempt += 1
            self._exchange.credential = (
                self._credential
            )  # whatever a layer inside made of it for the last attempt
            inward = scope if self._choice is None else self._choice.next(scope)
            verdict = await _Attempt(self, self._layer, send).run(inward, self._body.receiver())
            if verdict is None:
                return
            if isinstance(verdict, GatewayError):
                raise verdict
            await self._wait(verdict.delay_s)

    def answering(self) -> None:
        self._body.let_go()
        if self._choice is not None:
            self._choice.learn()

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def judge(self, status: int, headers: Headers) -> Verdict:
        """What to do about an answer of which only the start is known."""
        if status in TROUBLE_STATUSES:
            self._exchange.troubles += (str(status),)
        told_s = told_wait_s(headers, self._layer.unix_s()) if status >= 400 else None
        if self._choice is not None and status in (UNAUTHORIZED, RATE_LIMITED):
            return self._another_key(self._choice, status, told_s, is_retried(status, headers))
        return self._again(status, told_s) if is_retried(status, headers) else None

    def note(self, error: GatewayError) -> None:
        """Remember what failed an attempt, if it was the provider or the way to it."""
        if isinstance(error, UpstreamTimeout):
            self._exchange.troubles += (TIMEOUT_TROUBLES.get(error.which, "total_timeout"),)
        elif isinstance(error, UpstreamUnreachable):
            self._exchange.troubles += ("broke" if isinstance(error, UpstreamBroke) else "connect",)

    def judge_error(self, error: GatewayError) -> Verdict:
        """What to do about a provider that gave no answer."""
        if isinstance(error, UpstreamTimeout):
            return self._again("connect timeout") if error.which == "connect" else None
        if isinstance(error, UpstreamUnreachable) and not isinstance(error, UpstreamBroke):
            return self._again("no connection")
        return None

    def _another_key(self, choice: _Choice, status: int, told_s: float | None, retried: bool) -> Verdict:
        choice.rest(status, told_s)
        if self._exchange.client_left:
            return None
        if choice.has_another:
            return Again()
        free_in_s = choice.free_in_s
        guessed = (
            told_s is None and free_in_s > LONGEST_BACKOFF_S
        )  # nobody has told that it is worth the wait
        again = self._again(status, free_in_s + EARLY_WAKE_S) if retried and not guessed else None
        return again or choice.exhausted()

    def _again(self, reason: int | str, told_s: float | None = None) -> Again | None:
        if self._retries >= self._layer.max_retries or self._exchange.client_left:
            return None
        if told_s is not None and told_s > LONGEST_TOLD_WAIT_S + EARLY_WAKE_S:
            return None
        delay_s = backoff_s(self._retries, self._layer.chance()) if told_s is None else told_s
        if self._layer.clock() + delay_s - self._began > self._layer.deadline_s:
            return None
        self._retries += 1
        if self._choice is not None:
            self._choice.begin_again()
        log.info(
            "trying again",
            extra={**_told(self._exchange), "reason": reason, "delay_s": round(delay_s, 3)},
        )
        return Again(delay_s)

    async def _wait(self, delay_s: float) -> None:
        """Wait, unless the client leaves: nobody else listens to it between two attempts."""
        if delay_s <= 0:
            return
        waiting = asyncio.ensure_future(self._layer.sleep(delay_s))
        leaving = asyncio.ensure_future(self._body.until_left())
        try:
            await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                leaving.result()
                self._exchange.client_left = True
                raise ClientLeft
            waiting.result()
        finally:
            waiting.cancel()
            leaving.cancel()


class _Attempt:
    """One attempt: its answer passes, unless its start says that there is to be another."""

    def __init__(self, request: _Request, layer: FailoverMiddleware, send: Send) -> None:
        self._request, self._layer, self._send = request, layer, send
        self._verdict: Verdict = None
        self._started = False
        self._given_up_bytes = 0
        self._limit = asyncio.timeout(None)

    async def run(self, scope: Scope, receive: Receive) -> Verdict:
        try:
            async with self._limit:
                await self._layer.app(scope, receive, self.send)
        except ClientLeft:
            raise
        except (GatewayError, TimeoutError) as error:
            if self._verdict is None and isinstance(error, GatewayError):
                self._request.note(error)
            if self._started:
                raise
            if self._verdict is None and isinstance(error, GatewayError):
                self._verdict = self._request.judge_error(error)
            if self._verdict is None:
                raise
        return self._verdict

    async def send(self, message: Message) -> None:
        if self._verdict is not None:
            self._discard(message)
            return
        if message["type"] == "http.response.start":
            self._verdict = self._request.judge(message["status"], message["headers"])
            if self._verdict is not None:
                self._limit.reschedule(asyncio.get_running_loop().time() + self._layer.discard_s)
                return
            self._started = True
        await self._send(message)
        self._request.answering()

    def _discard(self, message: Message) -> None:
        self._given_up_bytes += len(message.get("body", b""))
        if self._given_up_bytes > self._layer.discard_bytes:
            raise _Enough("the answer was given up for another attempt")


class _Enough(GatewayError):
    """Ends an answer that was given up and goes on for too long; never leaves this layer."""


class _Choice:
    """Which central key each attempt of one request uses."""

    def __init__(self, pool: KeyPool, provider: Provider, exchange: Exchange) -> None:
        self._pool, self._provider, self._exchange = pool, provider, exchange
        self._bond = exchange.facts.bound_to if exchange.facts else None
        self._only = pool.bound(self._bond or _named_in_path(exchange))
        self._tried: set[int] = set()
        self._limited = False
        self._key = 0

    def next(self, scope: Scope) -> Scope:
        """The request with the key of the next attempt. Raises `KeysExhausted`."""
        key = self._pool.choose(self._only, self._tried)
        if key is None:
            raise self.exhausted()
        self._key = key
        if self._bond is not None:
            self._only = (
                key  # also where nobody knows any more who made it: it may be this one, and must not move
            )
        slot = self._provider.type.slots[0]
        credential = self._exchange.credential = Credential(slot, self._pool.keys[key])
        log.info("central key chosen", extra=self._told())
        value = slot.value(credential.secret)
        headers = [(n, value if n == slot.header else v) for n, v in scope["headers"]]
        return with_headers(scope, headers)

    def rest(self, status: int, told_s: float | None) -> None:
        """The attempt's key was answered 401 or 429."""
        self._tried.add(self._key)
        self._limited = self._limited or status == RATE_LIMITED
        rests_s = self._pool.rest(self._key, status, told_s)
        log.warning(
            "central key rests", extra={**self._told(), "status": status, "seconds": round(rests_s, 3)}
        )

    def begin_again(self) -> None:
        """After a wait, whoever was refused before may be asked again, unless it rests."""
        self._tried.clear()

    @property
    def has_another(self) -> bool:
        return self._pool.choose(self._only, self._tried) is not None

    @property
    def free_in_s(self) -> float:
        return self._pool.free_in_s(self._only)

    def exhausted(self) -> KeysExhausted:
        limited_s = self._pool.limited_for_s(self._only)
        which = f'every key of AI provider "{self._provider.name}"'
        if self._only is not None:
            which = f'the key of AI provider "{self._provider.name}" that this conversation is bound to'
        log.warning(
            "no central key is left", extra={**_told(self._exchange), "bound": self._only is not None}
        )
        if limited_s is None and not self._limited:
            return KeysExhausted(f"{which} is refused by the provider")
        return KeysRateLimited(f"{which} is rate limited", retry_after_s=max(1, math.ceil(limited_s or 0)))

    def learn(self) -> None:
        """Remember with the attempt's key what the answer named, and what the request was bound to."""
        bonds = self._exchange.bonds
        if not bonds:
            return
        if self._bond is not None:
            bonds.append(self._bond)
        for bond in bonds:
            self._pool.bind(bond, self._key)
        bonds.clear()

    def _told(self) -> dict[str, object]:
        return {**_told(self._exchange), "key": self._pool.keys[self._key].hint}


def _named_in_path(exchange: Exchange) -> str:
    """The ID in `/responses/<id>/...` and its like; any other word is bound to nothing."""
    segments = exchange.route.upstream_path.split("/") if exchange.route else []
    return segments[2] if len(segments) > 2 else ""


def _told(exchange: Exchange) -> dict[str, object]:
    """What log lines of this layer say of a request; nothing of its credential."""
    return {
        "request_id": exchange.request_id,
        "provider": exchange.provider.name if exchange.provider else None,
        "attempt": exchange.attempt,
    }


class _Replay:
    """Gives each attempt the messages that the request came in, and then what `receive` says."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []
        self._whole = False
        self._taken = 0
        """How many of those that are kept the attempt that runs has had."""

    def receiver(self) -> Receive:
        self._taken = 0

        async def receive() -> Message:
            if self._taken < len(self._kept):
                self._taken += 1
                return self._kept[self._taken - 1]
            message = await self._next()
            self._taken = len(self._kept)
            return message

        return receive

    def let_go(self) -> None:
        """There will be no other attempt: keep nothing but what this one has yet to take."""
        del self._kept[: self._taken]
        self._taken = 0
        self._whole = True

    async def until_left(self) -> None:
        while (await self._next())["type"] != "http.disconnect":
            pass

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self._whole:
            self._kept.append(message)
            self._whole = not message.get("more_body", False)
        return message
