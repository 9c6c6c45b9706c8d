"""The example of the layer that traces attempts."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.attempt_tracing import AttemptTracingMiddleware
from middleware.dispatch import ProviderDispatch
from middleware.errors import ErrorsMiddleware
from middleware.failover import FailoverMiddleware
from middleware.route import RouteMiddleware
from middleware.tracing import TracingMiddleware
from providers.base import Provider
from providers.openai.provider import OPENAI
from providers.registry import Registry
from recorders.otlp import OtlpTracer


async def provider(request: Request) -> Response:
    return PlainTextResponse(request.headers["traceparent"])


site = Starlette(routes=[Route("/models", provider)])
attempts = FailoverMiddleware(AttemptTracingMiddleware(site))
instances = Registry([Provider(OPENAI, "corp", "https://openai.example")])
routed = ErrorsMiddleware(RouteMiddleware(ProviderDispatch(attempts), locator=instances))
app = TracingMiddleware(routed, tracer=OtlpTracer("http://127.0.0.1:4318"))
