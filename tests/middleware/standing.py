"""How each layer is made to stand alone: its collaborators, and a request on which the layers outside left facts.

`LAYERS` is what the contract suite runs on; a layer in `middleware/` that is missing here fails it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp, Scope

import middleware
from middleware.attempt_tracing import AttemptTracingMiddleware
from middleware.auth import AuthMiddleware
from middleware.bedrock import BedrockMiddleware
from middleware.body import BodyMiddleware
from middleware.circuit_breaker import CircuitBreakerMiddleware
from middleware.dispatch import ProviderDispatch
from middleware.dump import DumpMiddleware
from middleware.errors import ErrorsMiddleware, Unauthorized
from middleware.exchange import Exchange, Identity
from middleware.failover import FailoverMiddleware
from middleware.governance import GovernanceMiddleware
from middleware.header_strip import HeaderStripMiddleware
from middleware.interception import InterceptionMiddleware
from middleware.limits import LimitsMiddleware
from middleware.metrics import Measured, MetricsMiddleware
from middleware.route import RouteMiddleware
from middleware.telemetry import TelemetryMiddleware
from middleware.tracing import TracingMiddleware
from providers.registry import Registry
from providers.secret import Secret
from recorders.stores.memory import MemoryStore
from tests.middleware.contract import Standing
from tests.middleware.exchanges import CALLER, CHAT_BODY, OPENAI_INSTANCE, TOKEN, known_scope
from tests.spans import Spans


class OneCaller:
    """An authenticator that knows one token."""

    async def authenticate(self, token: Secret) -> Identity:
        if token != Secret(TOKEN):
            raise Unauthorized("not the one token")
        return CALLER

    async def identify(self, api_key_id: str) -> Identity:
        if api_key_id != CALLER.api_key_id:
            raise Unauthorized("not the one key")
        return CALLER


class NoMeter:
    """Counts nothing."""

    def began(self, request: Measured) -> None:
        """A request."""

    def answering(self, request: Measured) -> None:
        """Its answer."""

    def ended(self, request: Measured) -> None:
        """Its end."""


Build = Callable[[ASGIApp, Path], ASGIApp]

LAYERS: Final[dict[type[Any], Build]] = {
    ErrorsMiddleware: lambda app, folder: ErrorsMiddleware(app),
    TelemetryMiddleware: lambda app, folder: TelemetryMiddleware(app),
    MetricsMiddleware: lambda app, folder: MetricsMiddleware(app, meter=NoMeter()),
    TracingMiddleware: lambda app, folder: TracingMiddleware(app, tracer=Spans()),
    AuthMiddleware: lambda app, folder: AuthMiddleware(app, authenticator=OneCaller()),
    GovernanceMiddleware: lambda app, folder: GovernanceMiddleware(app),
    HeaderStripMiddleware: lambda app, folder: HeaderStripMiddleware(app),
    RouteMiddleware: lambda app, folder: RouteMiddleware(app, locator=Registry([OPENAI_INSTANCE])),
    LimitsMiddleware: lambda app, folder: LimitsMiddleware(app, max_concurrency=9, rate_limit=9),
    BodyMiddleware: lambda app, folder: BodyMiddleware(app),
    InterceptionMiddleware: lambda app, folder: InterceptionMiddleware(app, sink=MemoryStore()),
    ProviderDispatch: lambda app, folder: ProviderDispatch(app),
    FailoverMiddleware: lambda app, folder: FailoverMiddleware(app),
    AttemptTracingMiddleware: lambda app, folder: AttemptTracingMiddleware(app),
    CircuitBreakerMiddleware: lambda app, folder: CircuitBreakerMiddleware(app),
    BedrockMiddleware: lambda app, folder: BedrockMiddleware(app),
    DumpMiddleware: lambda app, folder: DumpMiddleware(app, directory=folder),
}


def standing(kind: type[Any], folder: Path) -> Standing:
    """The layer of that class, alone, and a recorded request that it lets pass. Dumps go to `folder`."""
    build = LAYERS[kind]
    return Standing(kind, lambda app: build(app, folder), _request, CHAT_BODY)


def _request() -> Scope:
    scope = known_scope(headers=[("authorization", f"Bearer {TOKEN}")])
    Exchange.of(scope).span = Spans().begin("POST", [], {})
    return scope


def layers_found() -> Iterator[type[Any]]:
    """Every layer in `middleware/`: a public class that declares what it requires."""
    for module_info in pkgutil.iter_modules(middleware.__path__):
        module = importlib.import_module(f"middleware.{module_info.name}")
        for name, value in vars(module).items():
            declares = isinstance(value, type) and hasattr(value, "requires")
            if declares and value.__module__ == module.__name__ and not name.startswith("_"):
                yield value
