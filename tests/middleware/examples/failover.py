"""The first key is over its limit, so the second one answers; the client sees one answer."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.dispatch import ProviderDispatch
from middleware.errors import ErrorsMiddleware
from middleware.failover import FailoverMiddleware
from middleware.route import RouteMiddleware
from providers.base import Provider
from providers.openai.provider import OPENAI
from providers.registry import Registry
from providers.secret import Secret


async def answer(request: Request) -> Response:
    key = request.headers["authorization"].removeprefix("Bearer ")
    return PlainTextResponse(f"hello to {key}", 429 if key == "example-key-1" else 200)


site = Starlette(routes=[Route("/models", answer)])
keys = (Secret("example-key-1"), Secret("example-key-2"))
instances = Registry([Provider(OPENAI, "corp", "https://openai.example", keys=keys)])
app = ErrorsMiddleware(RouteMiddleware(ProviderDispatch(FailoverMiddleware(site)), locator=instances))
