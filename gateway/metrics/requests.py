"""Counts requests: the meter of the layer `MetricsMiddleware`.

What a request was is read when it is over, from what the layers left on its `Exchange`. Which are under way is kept as
they are, and put under labels only when somebody asks (`running`).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from gateway.metrics.instruments import Instruments
from gateway.metrics.labels import OTHER, Models, Users, method_label
from gateway.metrics.series import Observations, Tally
from middleware.errors import (
    CircuitOpen,
    ClientLeft,
    GatewayError,
    KeysExhausted,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from middleware.exchange import Exchange
from middleware.metrics import Measured
from providers.base import Provider
from providers.circuit import State

LEFT: Final = "499"
UNEXPECTED: Final = "unexpected"
"""The reason of what no error of ours foresaw: a mistake in the gateway."""


class RequestMeter:
    """Without `users` nobody is told apart."""

    def __init__(self, instruments: Instruments, models: Models, users: Users | None = None) -> None:
        self._models, self._users = models, users
        self._running: dict[Measured, Exchange] = {}
        self._duration = Observations(instruments.duration)
        self._first_byte = Observations(instruments.first_byte)
        self._interceptions = Tally(instruments.interceptions)
        self._passthrough = Tally(instruments.passthrough)
        self._refused = Tally(instruments.refused)
        self._upstream_errors = Tally(instruments.upstream_errors)
        self._trips = Tally(instruments.circuit_trips)
        self._rejects = Tally(instruments.circuit_rejects)
        self._exhaustions = Tally(instruments.key_exhaustions)

    def hand_on(self) -> None:
        """Give what was counted to prometheus-client."""
        for tally in (self._interceptions, self._passthrough, self._refused, self._upstream_errors):
            tally.hand_on()
        for tally in (self._trips, self._rejects, self._exhaustions):
            tally.hand_on()

    def began(self, request: Measured) -> None:
        self._running[request] = request.exchange

    def answering(self, request: Measured) -> None:
        facts, provider = request.exchange.facts, request.exchange.provider
        if request.status < 400 and facts is not None and provider is not None:
            self._models.learn(provider.name, facts.model)

    def ended(self, request: Measured) -> None:
        del self._running[request]
        exchange = request.exchange
        if request.error is not None:
            self._failed(exchange, request.error)
        provider = exchange.provider
        if provider is None:
            return
        for trouble in exchange.troubles:
            self._upstream_errors.add((provider.name, trouble))
        if exchange.outcome is not None:
            self._intercepted(request, provider)
        elif exchange.attempt:
            self._passthrough.add(
                (provider.name, _route(exchange), method_label(request.method), _code(request))
            )

    def running(self) -> Counter[tuple[str, ...]]:
        """How many interceptions are under way, by provider, model and route."""
        return Counter(
            (exchange.provider.name, self._model(exchange, exchange.provider), _route(exchange))
            for exchange in self._running.values()
            if exchange.interception_id is not None and exchange.provider is not None
        )

    def circuit_changed(self, name: str, state: State) -> None:
        """Hears the circuit breaker."""
        if state == "open":
            self._trips.add(self.circuit_labels(name))

    def circuit_labels(self, name: str) -> tuple[str, str, str]:
        """Provider, route and model of a circuit: what the circuit breaker makes its name of."""
        provider, _, rest = name.partition(" ")
        route, _, model = rest.partition(" ")
        return provider, route, self._models.label(provider, model)

    def _intercepted(self, request: Measured, provider: Provider) -> None:
        exchange = request.exchange
        model = self._model(exchange, provider)
        values: tuple[str, ...] = (
            *(provider.name, model, exchange.outcome or OTHER, _code(request)),
            *(_route(exchange), method_label(request.method), exchange.client),
        )
        if self._users is not None:
            values += (self._users.label(exchange.caller.username) if exchange.caller else OTHER,)
        self._interceptions.add(values)
        if exchange.outcome != "refused":
            self._duration.add((provider.name, model), request.duration_s)
        if request.first_byte_s is not None and request.status < 400:
            self._first_byte.add((provider.name, model), request.first_byte_s)

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        provider = exchange.provider.name if exchange.provider else OTHER
        if isinstance(error, ClientLeft | UpstreamUnreachable | UpstreamTimeout):
            return
        if isinstance(error, GatewayError):
            self._refused.add((provider, type(error).__name__))
        elif not isinstance(error, OSError):  # by which a server says that the client has gone
            self._refused.add((provider, UNEXPECTED))
        if isinstance(error, CircuitOpen):
            self._rejects.add(self.circuit_labels(exchange.circuit))
        elif isinstance(error, KeysExhausted):
            self._exhaustions.add((provider,))

    def _model(self, exchange: Exchange, provider: Provider) -> str:
        return self._models.label(provider.name, exchange.facts.model) if exchange.facts else OTHER


def _route(exchange: Exchange) -> str:
    """The endpoint as its provider type lists it, never the path that a client sent."""
    return exchange.route.endpoint.path if exchange.route else OTHER


def _code(request: Measured) -> str:
    """The status that the client was answered with, also where the error's own layer words the answer."""
    if request.status:
        return str(request.status)
    if isinstance(request.error, GatewayError):
        return str(request.error.status)
    return LEFT if request.exchange.client_left or request.error is None else "500"
