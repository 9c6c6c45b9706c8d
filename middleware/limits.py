"""Refuses what is too much: requests at once in this process, and requests a second of one API key.

Place: after auth and route, so that a stranger, an unknown route and a client's probe cost nothing of either limit;
before body, so that nothing is read for a request that is refused. Recorded routes and passed-through ones count
alike. Needs `caller` and `route`; sets `admitted`. Refuses with 429 and `Retry-After` above the rate, with 503 where
all slots are taken.

A request keeps its slot until its answer has ended, however that happens: a stream until its last byte, or until it
breaks, is cancelled or loses its client. It waits for nothing: who comes too much is told at once, and comes again.

The counting is this file's own. Of the libraries for it, `aiolimiter` makes callers wait and knows no keys; `limits`
counts by the time of day, needs a lock for each key and a task that tidies up, and keeps as many keys as come. Neither
lets a test say what time it is. The bucket below needs no lock, because nothing is awaited in it.

Each process counts for itself: with several workers, a key may reach the rate in each.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from middleware.errors import AtCapacity, RateLimited
from middleware.exchange import Exchange

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_KEYS: Final = 10_000


class LimitsMiddleware:
    """`max_concurrency` requests at once, `rate_limit` requests a second for each API key; 0 is no limit.

    A key that was quiet for a second may spend the whole second's worth at once. `clock` counts seconds and never
    goes back. Requests without a caller count as one key's.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"caller", "route"})
    provides: ClassVar[frozenset[str]] = frozenset({"admitted"})

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_concurrency: int = 0,
        rate_limit: int = 0,
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_concurrency < 0:
            raise ValueError(f"max_concurrency must not be negative: {max_concurrency}")
        self.app = app
        self.max_concurrency = max_concurrency
        self._rates = _Rates(rate_limit, max_keys, clock)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        wait_s = self._rates.take(exchange.caller.api_key_id if exchange.caller else "")
        if wait_s > 0:
            raise RateLimited(retry_after_s=math.ceil(wait_s))
        if self.max_concurrency and self._running >= self.max_concurrency:
            raise AtCapacity
        exchange.admitted = True
        self._running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._running -= 1


@dataclass(slots=True)
class _Bucket:
    """What a key may still spend, as of a moment."""

    requests: float
    as_of_s: float


class _Rates:
    """A token bucket for each key, for the `max_keys` that came last.

    A bucket is full again after a second, and a full one says no more than none. So forgetting the key that came
    longest ago makes a difference only where more than `max_keys` come within one second.
    """

    def __init__(self, rate_limit: int, max_keys: int, clock: Callable[[], float]) -> None:
        if rate_limit < 0:
            raise ValueError(f"rate_limit must not be negative: {rate_limit}")
        if max_keys <= 0:
            raise ValueError(f"max_keys must be positive: {max_keys}")
        self._rate, self._max_keys, self._clock = rate_limit, max_keys, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str) -> float:
        """Spend one request of `key`: 0 where there was one, else the seconds until there is, and nothing is spent."""
        if not self._rate:
            return 0.0
        bucket = self._filled(key)
        if bucket.requests < 1:
            return (1 - bucket.requests) / self._rate
        bucket.requests -= 1
        return 0.0

    def _filled(self, key: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(self._rate, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        bucket.requests = min(self._rate, bucket.requests + (now - bucket.as_of_s) * self._rate)
        bucket.as_of_s = now
        return bucket
