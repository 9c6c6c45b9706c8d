"""One circuit: whether a part of a provider that keeps failing is asked, spared, or tried again.

    closed ── `failure_threshold` failures in a row, within `interval_s` ──▶ open
    open ── `timeout_s` later, at the next request ──▶ half-open
    half-open ── `max_requests` requests went well ──▶ closed
    half-open ── one failed ──▶ open

While it is closed everything counts that becomes known; while it is half-open only the requests that it let through to
try. What ends without saying anything of the provider makes room for another try. What failed when the circuit was
opened already says nothing new.

Knows no event loop and counts nothing by itself; `clock` counts seconds and never goes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half-open"]

USUAL: Final = 0
"""The ticket of a request that is no try."""


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """When circuits change their state."""

    failure_threshold: int = 5
    interval_s: float = 10.0
    timeout_s: float = 30.0
    max_requests: int = 3

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "interval_s", "timeout_s", "max_requests"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive: {getattr(self, name)}")


class Circuit:
    """Each request that `enter` let pass comes back once: as `succeeded`, `failed` or `undecided`.

    `on_change` hears of each change of state, with the new one.
    """

    def __init__(
        self, rules: CircuitRules, *, clock: Callable[[], float], on_change: Callable[[State], None]
    ) -> None:
        self._rules, self._clock, self._on_change = rules, clock, on_change
        self.state: State = "closed"
        self._failures = 0
        self._counting_until_s = -math.inf
        self._open_until_s = -math.inf
        self._period = USUAL
        self._let_through = self._went_well = 0

    def enter(self) -> int | None:
        """A ticket, or None where the request is to be refused."""
        if self.state == "open" and self._clock() >= self._open_until_s:
            self._try()
        if self.state == "closed":
            return USUAL
        if self.state == "open" or self._let_through >= self._rules.max_requests:
            return None
        self._let_through += 1
        return self._period

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until asking again makes sense, at least 1."""
        left_s = self._open_until_s - self._clock() if self.state == "open" else 0.0
        return max(1, math.ceil(left_s))

    def succeeded(self, ticket: int) -> None:
        """The provider gave an answer that is no failure, whatever it says."""
        if self.state == "closed":
            self._failures = 0
        elif self._is_try(ticket):
            self._went_well += 1
            if self._went_well >= self._rules.max_requests:
                self._close()

    def failed(self, ticket: int) -> None:
        if self._is_try(ticket):
            self._open()
        elif self.state == "closed":
            now = self._clock()
            if now >= self._counting_until_s:
                self._failures, self._counting_until_s = 0, now + self._rules.interval_s
            self._failures += 1
            if self._failures >= self._rules.failure_threshold:
                self._open()

    def undecided(self, ticket: int) -> None:
        """The request ended before the provider had said anything."""
        if self._is_try(ticket):
            self._let_through -= 1

    def _is_try(self, ticket: int) -> bool:
        return self.state == "half-open" and ticket == self._period

    def _open(self) -> None:
        self._open_until_s = self._clock() + self._rules.timeout_s
        self._become("open")

    def _try(self) -> None:
        self._period += 1
        self._let_through = self._went_well = 0
        self._become("half-open")

    def _close(self) -> None:
        self._failures, self._counting_until_s = 0, -math.inf
        self._become("closed")

    def _become(self, state: State) -> None:
        self.state = state
        self._on_change(state)
