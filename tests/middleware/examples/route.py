"""The application is called for the routes of the configured instances alone, and told which it was."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.errors import ErrorsMiddleware
from middleware.exchange import Exchange
from middleware.route import RouteMiddleware
from providers.base import Provider
from providers.openai.provider import OPENAI
from providers.registry import Registry


async def show(request: Request) -> Response:
    route = Exchange.of(request.scope).route
    return PlainTextResponse(f"would go to {route.upstream_path}" if route else "never happens")


instances = Registry([Provider(OPENAI, "corp", "https://openai.example/v1")])
site = Starlette(routes=[Route("/{path:path}", show, methods=["GET", "POST"])])
app = ErrorsMiddleware(RouteMiddleware(site, locator=instances))
