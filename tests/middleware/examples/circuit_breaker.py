"""The example of the circuit breaker."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.circuit_breaker import CircuitBreakerMiddleware
from middleware.dispatch import ProviderDispatch
from middleware.errors import ErrorsMiddleware
from middleware.route import RouteMiddleware
from providers.base import Provider
from providers.circuit import CircuitRules
from providers.openai.provider import OPENAI
from providers.registry import Registry


async def fail(request: Request) -> Response:
    return PlainTextResponse("out of order", 503)


site = Starlette(routes=[Route("/models", fail)])
spared = CircuitBreakerMiddleware(site, rules=CircuitRules(failure_threshold=2))
instances = Registry([Provider(OPENAI, "corp", "https://openai.example")])
app = ErrorsMiddleware(RouteMiddleware(ProviderDispatch(spared), locator=instances))
