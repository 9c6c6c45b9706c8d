"""The layers: one file each, one public class per file, each a plain ASGI application around another.

They are imported from here for composing. `gateway.stack` has them in their order, with the reason for each place.
"""

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
from middleware.upstream import Upstream

__all__ = [
    "AttemptTracingMiddleware",
    "AuthMiddleware",
    "BedrockMiddleware",
    "BodyMiddleware",
    "CircuitBreakerMiddleware",
    "DumpMiddleware",
    "ErrorsMiddleware",
    "FailoverMiddleware",
    "GovernanceMiddleware",
    "HeaderStripMiddleware",
    "InterceptionMiddleware",
    "LimitsMiddleware",
    "MetricsMiddleware",
    "ProviderDispatch",
    "RouteMiddleware",
    "TelemetryMiddleware",
    "TracingMiddleware",
    "Upstream",
]
