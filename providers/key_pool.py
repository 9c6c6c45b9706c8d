"""The central keys of one instance: which of them a request uses, which rest, and which a conversation stays with.

Primary with fallback: a request gets the first key that isn't resting. A key that was answered 429 rests for as long
as the provider said, else for a minute; one that was answered 401 for a minute; a rest never gets shorter. What only
the account that made it can read again (a stored response, encrypted reasoning) is remembered with the key that
served it, for the latest of them.

Knows no event loop and sends nothing; `clock` counts seconds and never goes back. Keys are named by their place, so
that no secret passes through here but in `keys`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from providers.secret import Secret

KeyState: TypeAlias = Literal["usable", "rate_limited", "refused"]

UNAUTHORIZED: Final = 401
RATE_LIMITED: Final = 429
REST_S: Final = 60.0
LONGEST_REST_S: Final = 86_400.0
"""A provider's slip must not take a key away until the next start."""
MAX_BONDS: Final = 10_000


@dataclass(slots=True)
class _Rest:
    """Until when a key rests, for each of the two reasons."""

    limited_until: float = -math.inf
    refused_until: float = -math.inf

    def left_s(self, now: float) -> float:
        return max(0.0, self.limited_until - now, self.refused_until - now)

    def state(self, now: float) -> KeyState:
        if self.refused_until > now:
            return "refused"
        return "rate_limited" if self.limited_until > now else "usable"


@dataclass(slots=True)
class Transitions:
    """How often a key was taken out of use, by the reason; a key that rests already is not counted again."""

    rate_limited: int = 0
    refused: int = 0

    def count(self, state: KeyState) -> None:
        if state == "rate_limited":
            self.rate_limited += 1
        elif state == "refused":
            self.refused += 1


class KeyPool:
    """`only` restricts a question to one key: the one that a conversation stays with."""

    def __init__(
        self, keys: Sequence[Secret], *, clock: Callable[[], float], max_bonds: int = MAX_BONDS
    ) -> None:
        if not keys:
            raise ValueError("a pool needs a key")
        if max_bonds <= 0:
            raise ValueError(f"max_bonds must be positive: {max_bonds}")
        self.keys = tuple(keys)
        self._clock = clock
        self._rests = [_Rest() for _ in self.keys]
        self._bonds: OrderedDict[str, Secret] = OrderedDict()
        self._max_bonds = max_bonds
        self.transitions = Transitions()

    def with_keys(self, keys: Sequence[Secret]) -> KeyPool:
        """A pool of other keys that shares with this one what is known, and what becomes known, of those in both.

        So whoever still works with this one, and whoever works with the new one, learn from each other.
        """
        pool = KeyPool(keys, clock=self._clock, max_bonds=self._max_bonds)
        known = dict(zip(self.keys, self._rests, strict=True))
        pool._rests = [known.get(key, rest) for key, rest in zip(pool.keys, pool._rests, strict=True)]
        pool._bonds = self._bonds
        pool.transitions = self.transitions
        return pool

    # -- which key ----------------------------------------------------------------------------------------------------

    def choose(self, only: int | None = None, tried: Collection[int] = ()) -> int | None:
        """The first key that isn't resting and was not tried yet, or None."""
        now = self._clock()
        usable = (key for key in self._among(only) if key not in tried and not self._rests[key].left_s(now))
        return next(usable, None)

    def rest(self, key: int, status: int, told_s: float | None) -> float:
        """Let a key rest that was answered 429 or 401; `told_s` is what the answer said. Returns the seconds left."""
        now, rest = self._clock(), self._rests[key]
        before = rest.state(now)
        if status == RATE_LIMITED:
            rest_s = REST_S if told_s is None else min(told_s, LONGEST_REST_S)
            rest.limited_until = max(rest.limited_until, now + rest_s)
        else:
            rest.refused_until = max(rest.refused_until, now + REST_S)
        if (state := rest.state(now)) != before:
            self.transitions.count(state)
        return rest.left_s(now)

    def free_in_s(self, only: int | None = None) -> float:
        """Seconds until the first of the keys is usable again."""
        now = self._clock()
        return min(self._rests[key].left_s(now) for key in self._among(only))

    def limited_for_s(self, only: int | None = None) -> float | None:
        """Seconds until the first rate limit among the keys ends, or None when no key is rate limited."""
        now = self._clock()
        left = (self._rests[key].limited_until - now for key in self._among(only))
        return min((seconds for seconds in left if seconds > 0), default=None)

    @property
    def states(self) -> tuple[KeyState, ...]:
        """What is known of each key now."""
        now = self._clock()
        return tuple(rest.state(now) for rest in self._rests)

    def _among(self, only: int | None) -> Sequence[int]:
        return range(len(self.keys)) if only is None else (only,)

    # -- conversations ------------------------------------------------------------------------------------------------

    def bind(self, bond: str, key: int) -> None:
        """Remember which key made what `bond` names; beyond `max_bonds` the one used longest ago is forgotten."""
        self._bonds[bond] = self.keys[key]
        self._bonds.move_to_end(bond)
        if len(self._bonds) > self._max_bonds:
            self._bonds.popitem(last=False)

    def bound(self, bond: str) -> int | None:
        """The key that made what `bond` names, or None when that is not known (any more), or the key is gone."""
        secret = self._bonds.get(bond)
        if secret is None:
            return None
        self._bonds.move_to_end(bond)
        return self.keys.index(secret) if secret in self.keys else None
