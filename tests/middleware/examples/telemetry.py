"""Each answer carries a request ID, each request leaves one line in the log `ai_gateway.access`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.telemetry import TelemetryMiddleware


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


app = TelemetryMiddleware(Starlette(routes=[Route("/", hello)]))
