"""Spares a provider that keeps failing: one circuit for each instance, endpoint and model.

Place: inside failover and attempt_tracing, so that each attempt counts and each is refused; outside bedrock and dump,
so that a refused attempt is neither signed nor dumped. Needs `attempt`, `provider`, `route` and `facts`; sets
`circuit`, the name of the one that the attempt passes. While a circuit is open it refuses with 503 and `Retry-After`,
in the provider's shape.

What counts as a failure says the provider type (`failing_statuses`: 503, 504, for Anthropic 529), and the status alone
decides, as soon as it is there. Every other status is an answer, and ends a run of failures: also 429, which is about
a key and not about the provider. An error of our own (no connection, a timeout, keys that can't be had), a client that
left and a cancelled request say nothing, and count neither way.

Failover does not try again what is refused here: that would be a wait for what is known not to be there. So a request
whose own retry meets the circuit that it opened ends with this refusal. `Retry-After` tells the client when.

The state machine is this project's own (`providers.circuit`). Of the libraries, `pybreaker` and `purgatory` judge a
call by whether it raised, after it has returned: here the status judges, in the middle of a call that may stream for
minutes. Neither forgets failures after an interval, bounds the tries at once of a half-open circuit, or has an outcome
that counts neither way; both take the time from the clock on the wall, and neither bounds the number of circuits,
though a client can name any model.

Each process has circuits of its own. They go by the instance's name, so a reload leaves them as they are: also that of
an instance which now points elsewhere, until its next try.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from middleware.errors import CircuitOpen
from middleware.exchange import Exchange
from providers.circuit import USUAL, Circuit, CircuitRules, State

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("ai_gateway.circuit_breaker")

MAX_CIRCUITS: Final = 1000
MAX_MODEL_CHARACTERS: Final = 128
"""A client may name a model of any length; the rest of a longer name makes no other circuit."""


def _nobody(name: str, state: State) -> None:
    """Nobody listens."""


class CircuitBreakerMiddleware:
    """`rules` say when circuits change; `clock` counts seconds and never goes back.

    A circuit is kept from its first failure on. Beyond `max_circuits` the one that was used longest ago is forgotten,
    which closes it. `on_change` hears of each change of state: the name of the circuit and its new state.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"attempt", "attempt_span", "provider", "route", "facts"})
    provides: ClassVar[frozenset[str]] = frozenset({"circuit"})

    def __init__(
        self,
        app: ASGIApp,
        *,
        rules: CircuitRules | None = None,
        max_circuits: int = MAX_CIRCUITS,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[str, State], None] = _nobody,
    ) -> None:
        if max_circuits <= 0:
            raise ValueError(f"max_circuits must be positive: {max_circuits}")
        self.app = app
        self.rules = rules or CircuitRules()
        self.max_circuits = max_circuits
        self.clock = clock
        self.on_change = on_change
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        exchange.circuit = _name(exchange)
        passage = _Passage(self, exchange, send)
        try:
            await self.app(scope, receive, passage.send)
        finally:
            passage.end()

    @property
    def circuits(self) -> Mapping[str, Circuit]:
        """Those that are kept, by name."""
        return self._circuits

    def known(self, name: str) -> Circuit | None:
        """The circuit of that name, if anything failed there lately."""
        circuit = self._circuits.get(name)
        if circuit is not None:
            self._circuits.move_to_end(name)
        return circuit

    def known_or_new(self, name: str) -> Circuit:
        circuit = self.known(name)
        if circuit is None:
            circuit = Circuit(self.rules, clock=self.clock, on_change=partial(self._changed, name))
            self._circuits[name] = circuit
            if len(self._circuits) > self.max_circuits:
                self._circuits.popitem(last=False)
        return circuit

    def _changed(self, name: str, state: State) -> None:
        _log_change(name, state)
        self.on_change(name, state)


class _Passage:
    """One attempt on its way: what its circuit is told of it, once. Raises `CircuitOpen` where it may not pass."""

    def __init__(self, layer: CircuitBreakerMiddleware, exchange: Exchange, send: Send) -> None:
        self._layer, self._exchange, self._send = layer, exchange, send
        self._circuit = layer.known(exchange.circuit)
        self._ticket = USUAL
        self._told = False
        if self._circuit is not None:
            ticket = self._circuit.enter()
            if ticket is None:
                raise CircuitOpen(self._circuit.retry_after_s)
            self._ticket = ticket

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._exchange.client_left:
            self._answered(message["status"])
        await self._send(message)

    def end(self) -> None:
        if not self._told and self._circuit is not None:
            self._circuit.undecided(self._ticket)

    def _answered(self, status: int) -> None:
        self._told = True
        layer, name, provider = self._layer, self._exchange.circuit, self._exchange.provider
        if provider is not None and status in provider.type.failing_statuses:
            (self._circuit or layer.known_or_new(name)).failed(self._ticket)
        elif circuit := self._circuit or layer.known(name):
            circuit.succeeded(self._ticket)


def _name(exchange: Exchange) -> str:
    """Which circuit: instance, endpoint as it is listed, and model; a route that only passes through has no model."""
    provider = exchange.provider.name if exchange.provider else ""
    endpoint = exchange.route.endpoint.path if exchange.route else ""
    model = exchange.facts.model[:MAX_MODEL_CHARACTERS] if exchange.facts else ""
    return f"{provider} {endpoint} {model}".rstrip()


def _log_change(name: str, state: State) -> None:
    level = logging.WARNING if state == "open" else logging.INFO
    log.log(level, "circuit changed", extra={"circuit": name, "state": state})
