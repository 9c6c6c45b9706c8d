"""THE two lists of layers, outermost first, and the check of their order.

A layer declares which fields of the `Exchange` it needs and which it sets (`requires`, `provides`); a layer that needs
a field stands inside the one that sets it. A wrong order, a missing layer or a layer given twice is refused at start-up
with one sentence that names both layers. Every order that the declarations allow behaves the same, which a test shows
by trying them all.

To add a layer: write its file in `middleware/`, add one line here with the reason for its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from middleware.attempt_tracing import AttemptTracingMiddleware
from middleware.auth import AuthMiddleware
from middleware.bedrock import BedrockMiddleware
from middleware.body import BodyMiddleware
from middleware.circuit_breaker import CircuitBreakerMiddleware
from middleware.dispatch import ProviderDispatch
from middleware.dump import DumpMiddleware
from middleware.errors import ErrorsMiddleware
from middleware.failover import FailoverMiddleware
from middleware.governance import GovernanceMiddleware
from middleware.header_strip import HeaderStripMiddleware
from middleware.interception import InterceptionMiddleware
from middleware.limits import LimitsMiddleware
from middleware.metrics import MetricsMiddleware
from middleware.route import RouteMiddleware
from middleware.telemetry import TelemetryMiddleware
from middleware.tracing import TracingMiddleware
from providers.circuit import CircuitRules

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.metrics.metrics import Metrics
    from gateway.parts import Parts
    from gateway.settings import GatewayOptions


LayerT = TypeVar("LayerT")


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of a list: the class that declares, how it is built from the parts, and why it stands there."""

    kind: type[Any]
    build: Callable[[ASGIApp, Parts], ASGIApp]
    why: str

    @property
    def name(self) -> str:
        return self.kind.__name__

    @property
    def requires(self) -> frozenset[str]:
        return frozenset(getattr(self.kind, "requires", ()))

    @property
    def provides(self) -> frozenset[str]:
        return frozenset(getattr(self.kind, "provides", ()))


CLIENT_SIDE: Final[tuple[Layer, ...]] = (
    Layer(
        ErrorsMiddleware,
        lambda app, p: ErrorsMiddleware(app, error_shape=p.error_shape),
        "outermost: every other layer speaks to the client by raising",
    ),
    Layer(
        TelemetryMiddleware,
        lambda app, p: TelemetryMiddleware(app),
        "outside auth: refused requests get an ID and a log line too",
    ),
    Layer(
        MetricsMiddleware,
        lambda app, p: MetricsMiddleware(app, meter=p.metrics.requests) if p.metrics else app,
        "inside errors, whose refusals it sees as they are raised; outside auth: refused requests are counted too",
    ),
    Layer(
        TracingMiddleware,
        lambda app, p: (
            TracingMiddleware(app, tracer=p.tracing.tracer, summaries=p.tracing.summaries)
            if p.tracing
            else app
        ),
        "inside metrics, which measures what it costs; outside auth: refused requests have a span too",
    ),
    Layer(
        AuthMiddleware,
        lambda app, p: AuthMiddleware(app, authenticator=p.authenticator, exempt=p.registry.is_probe),
        "before all that costs or tells something: a stranger gets no further",
    ),
    Layer(
        GovernanceMiddleware,
        lambda app, p: GovernanceMiddleware(app, allow_byok=p.options.allow_byok),
        "right after auth: from here on no header holds the gateway token",
    ),
    Layer(
        HeaderStripMiddleware,
        lambda app, p: HeaderStripMiddleware(app, actor_headers=p.actor_headers),
        "after governance, which still reads its header; before anything that forwards",
    ),
    Layer(
        RouteMiddleware,
        lambda app, p: RouteMiddleware(app, locator=p.registry),
        "before body: nothing is read for a request that will be refused",
    ),
    Layer(
        LimitsMiddleware,
        lambda app, p: _limited(app, p.options),
        "after auth and route: strangers and unknown routes use up nothing; before body: nothing is read in vain",
    ),
    Layer(
        BodyMiddleware,
        lambda app, p: BodyMiddleware(
            app, max_bytes=p.options.max_body_bytes, timeout_s=p.options.body_timeout_s
        ),
        "after route and limits; outside interception, which needs the facts of the body",
    ),
    Layer(
        InterceptionMiddleware,
        lambda app, p: InterceptionMiddleware(
            app, sink=p.sink, request_stream_usage=p.options.request_stream_usage
        ),
        "innermost on this side: the request is clean and known, and every byte of the answer still passes",
    ),
    Layer(
        ProviderDispatch,
        lambda app, p: ProviderDispatch(app, actor_headers=p.sent_actor_headers),
        "the border: inside it the scope is the provider's request, with the credential that goes upstream",
    ),
)

UPSTREAM_SIDE: Final[tuple[Layer, ...]] = (
    Layer(
        FailoverMiddleware,
        lambda app, p: FailoverMiddleware(
            app, max_retries=p.options.max_retries, deadline_s=p.options.total_timeout_s
        ),
        "outermost here: each attempt passes the layers below, and those outside see one answer",
    ),
    Layer(
        AttemptTracingMiddleware,
        lambda app, p: AttemptTracingMiddleware(app) if p.tracing else app,
        "inside failover: each attempt has a span; outside the rest: a refused one too; dump shows its headers",
    ),
    Layer(
        CircuitBreakerMiddleware,
        lambda app, p: _spared(app, p.options, p.metrics),
        "inside failover: each attempt is counted; outside bedrock and dump: a refused one is neither signed nor sent",
    ),
    Layer(
        BedrockMiddleware,
        lambda app, p: BedrockMiddleware(app),
        "inside failover: each attempt is signed anew, and last; outside dump, which shows what was signed",
    ),
    Layer(
        DumpMiddleware,
        lambda app, p: DumpMiddleware(app, directory=p.options.dump_dir) if p.options.dump_dir else app,
        "right before the provider: what is dumped is what was sent",
    ),
)

LAYERS: Final = CLIENT_SIDE + UPSTREAM_SIDE


def _limited(app: ASGIApp, options: GatewayOptions) -> ASGIApp:
    if not options.max_concurrency and not options.rate_limit:
        return app
    return LimitsMiddleware(app, max_concurrency=options.max_concurrency, rate_limit=options.rate_limit)


def _spared(app: ASGIApp, options: GatewayOptions, metrics: Metrics | None) -> ASGIApp:
    if not options.circuit_breaker_enabled:
        return app
    rules = CircuitRules(
        failure_threshold=options.circuit_breaker_failure_threshold,
        interval_s=options.circuit_breaker_interval_s,
        timeout_s=options.circuit_breaker_timeout_s,
        max_requests=options.circuit_breaker_max_requests,
    )
    if metrics is None:
        return CircuitBreakerMiddleware(app, rules=rules)
    return CircuitBreakerMiddleware(app, rules=rules, on_change=metrics.requests.circuit_changed)


class StackError(ValueError):
    """The layers can't work in this order; the message says which two, and what to move."""


def check_order(layers: Sequence[Layer]) -> None:
    """Raises `StackError` unless every field is set outside the layer that needs it, and no layer comes twice."""
    providers = {field: layer for layer in layers for field in layer.provides}
    known: set[str] = set()
    seen: set[str] = set()
    for layer in layers:
        if layer.name in seen:
            raise StackError(f"{layer.name} is in the stack twice: remove one of them")
        seen.add(layer.name)
        for field in sorted(layer.requires - known):
            raise StackError(_complaint(layer, field, providers))
        known |= layer.provides


def _complaint(layer: Layer, field: str, providers: dict[str, Layer]) -> str:
    provider = providers.get(field)
    if provider is not None:
        return f"{layer.name} needs `{field}`, which {provider.name} sets: put {provider.name} outside it"
    standard = next((other.name for other in LAYERS if field in other.provides), None)
    missing = f"add {standard} outside it" if standard else "no known layer sets it"
    return f"{layer.name} needs `{field}`, which no layer of this stack sets: {missing}"


def compose(layers: Sequence[Layer], innermost: ASGIApp, parts: Parts) -> ASGIApp:
    """The layers around `innermost`, in an order that was checked."""
    check_order(layers)
    app = innermost
    for layer in reversed(layers):
        app = layer.build(app, parts)
    return app


def outer_layers(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The layers that every answer passes, also one that is given before anything is known of the request."""
    return [layer for layer in layers if not layer.requires]


def admitting_layers(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The layers down to the one that knows the caller; none where no layer does."""
    place = next((place for place, layer in enumerate(layers, 1) if "caller" in layer.provides), 0)
    return layers[:place]


def closable(app: Any) -> Iterator[Any]:
    """The layers that have something to finish, such as files that are still being written."""
    return (layer for layer in _chain(app) if hasattr(layer, "close"))


def the_layer(kind: type[LayerT], app: Any) -> LayerT | None:
    """The layer of that class among those that were composed, if it is there."""
    return next((layer for layer in _chain(app) if isinstance(layer, kind)), None)


def _chain(app: Any) -> Iterator[Any]:
    while app is not None:
        yield app
        app = getattr(app, "app", None)
