"""Remembers for a short time what an authenticator said, so that it is asked seldom and may be away for a while.

What is remembered lies under the SHA-256 of the whole token, never under a part of it. A revoked key goes on for at
most `ttl_s`. While the authority can't be reached or is too slow, an identity that was confirmed goes on for `grace_s`
more, and its requests don't wait for questions that are likely to be in vain; whoever isn't known gets
`AuthorityUnreachable`, never `Unauthorized`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from middleware.auth import Authenticator
from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity
from providers.secret import Secret

log = logging.getLogger("ai_gateway.auth")

RETRY_S: Final = 1.0
"""While the authority is away it is asked about a known identity no more often than this, and nobody waits for it."""

_Ask: TypeAlias = Callable[[], Coroutine[Any, Any, Identity]]
_V = TypeVar("_V")


@dataclass(slots=True)
class _Known:
    """Between `ask_at` and `fresh_until` the authority is asked, but the identity counts meanwhile."""

    identity: Identity
    ask_at: float
    fresh_until: float
    grace_until: float


@dataclass(frozen=True, slots=True)
class _Refused:
    reason: str
    until: float


class CachingAuthenticator:
    """An `Authenticator` around another one.

    Each of the two memories (known, refused) holds `max_entries` and forgets what was used longest ago, so a flood of
    wrong tokens drives out no good one. Callers with the same token wait for one question; a caller that is cancelled
    doesn't take it away from the others. A question is given up after `timeout_s`, however long its end may take.

    A key that was revoked during an outage is refused at most `RETRY_S + timeout_s` after the last question in vain.
    """

    def __init__(
        self,
        inner: Authenticator,
        *,
        ttl_s: float,
        grace_s: float,
        max_entries: int = 10_000,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for option, value in (("ttl_s", ttl_s), ("grace_s", grace_s)):
            if value < 0:
                raise ValueError(f"{option} must not be negative, not {value}")
        for option, value in (("max_entries", max_entries), ("timeout_s", timeout_s)):
            if value <= 0:
                raise ValueError(f"{option} must be positive, not {value}")
        self._inner = inner
        self._ttl_s = ttl_s
        self._grace_s = grace_s
        self._max_entries = max_entries
        self._timeout_s = timeout_s
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Identity | Exception]] = {}
        self._answers: set[asyncio.Task[Identity]] = set()

    async def authenticate(self, token: Secret) -> Identity:
        key = _digest("token", token.reveal_secret_value())
        return await self._look_up(key, lambda: self._inner.authenticate(token))

    async def identify(self, api_key_id: str) -> Identity:
        return await self._look_up(_digest("id", api_key_id), lambda: self._inner.identify(api_key_id))

    async def close(self) -> None:
        """Give up the questions that are open; who waits for one gets `AuthorityUnreachable`."""
        tasks = [*self._asking.values(), *self._answers]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _look_up(self, key: bytes, ask: _Ask) -> Identity:
        now = self._clock()
        known = self._known.get(key)
        if known is not None and now < known.fresh_until:
            self._known.move_to_end(key)
            if now >= known.ask_at and self._may_ask(key):
                self._question(key, ask)
            return known.identity
        refused = self._refused.get(key)
        if refused is not None and now < refused.until:
            self._refused.move_to_end(key)
            raise Unauthorized(refused.reason)
        if self._may_ask(key):
            return await self._wait_for(self._question(key, ask))
        return _raised_or_returned(self._go_on(key))

    def _may_ask(self, key: bytes) -> bool:
        """Whether this question is open already, or there is room for one more beside those that take long to end."""
        return key in self._asking or max(len(self._asking), len(self._answers)) < self._max_entries

    def _question(self, key: bytes, ask: _Ask) -> asyncio.Task[Identity | Exception]:
        """The question about this key that is open, or a new one."""
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, ask), name="gateway.authenticate")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return task

    @staticmethod
    async def _wait_for(task: asyncio.Task[Identity | Exception]) -> Identity:
        await asyncio.wait((task,))
        return _raised_or_returned(AuthorityUnreachable() if task.cancelled() else task.result())

    async def _ask(self, key: bytes, ask: _Ask) -> Identity | Exception:
        try:
            identity = await self._answer(ask)
        except Unauthorized as error:
            self._known.pop(key, None)
            refused = _Refused(error.reason, self._clock() + self._ttl_s)
            self._remember(self._refused, key, refused)
            return error
        except (AuthorityUnreachable, TimeoutError):
            return self._go_on(key)
        except Exception as error:
            return error
        self._refused.pop(key, None)
        fresh_until = self._clock() + self._ttl_s
        known = _Known(identity, fresh_until, fresh_until, fresh_until + self._grace_s)
        self._remember(self._known, key, known)
        return identity

    async def _answer(self, ask: _Ask) -> Identity:
        """Raises `TimeoutError` in time, also where the question takes long to end: a database driver that is
        cancelled first asks its server, which hangs, to cancel the query."""
        answer = asyncio.create_task(ask(), name="gateway.authority")
        self._answers.add(answer)
        answer.add_done_callback(self._forget)
        try:
            await asyncio.wait((answer,), timeout=self._timeout_s)
        finally:
            answer.cancel()  # unless it is there
        if not answer.done():
            raise TimeoutError
        return answer.result()

    def _forget(self, answer: asyncio.Task[Identity]) -> None:
        self._answers.discard(answer)
        if not answer.cancelled():
            answer.exception()  # seen: whoever gave it up doesn't look

    def _go_on(self, key: bytes) -> Identity | Exception:
        """Nobody can be asked: what was known counts for the grace, and isn't asked for with every request."""
        now = self._clock()
        known = self._known.get(key)
        if known is None or now >= known.grace_until:
            return AuthorityUnreachable()
        known.ask_at = now + RETRY_S
        known.fresh_until = min(known.ask_at + self._timeout_s, known.grace_until)
        log.warning("the authority can't be reached; key %s goes on", known.identity.api_key_id)
        return known.identity

    def _remember(self, memory: OrderedDict[bytes, _V], key: bytes, value: _V) -> None:
        memory[key] = value
        memory.move_to_end(key)
        if len(memory) > self._max_entries:
            memory.popitem(last=False)


def _raised_or_returned(answer: Identity | Exception) -> Identity:
    """Errors come as values and are raised anew for each who waits: an exception has one traceback only."""
    match answer:
        case Identity() as identity:
            return identity
        case Unauthorized() as error:
            raise Unauthorized(error.reason)
        case AuthorityUnreachable():
            raise AuthorityUnreachable
        case error:
            raise error


def _digest(kind: str, value: str) -> bytes:
    """Tokens and key IDs never meet: a key ID that is sent as a token is just a wrong token."""
    return hashlib.sha256(f"{kind}\0{value}".encode("utf-8", "surrogatepass")).digest()
