"""The example of the limits layer."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.authenticators import StaticAuthenticator
from middleware.auth import AuthMiddleware
from middleware.errors import ErrorsMiddleware
from middleware.limits import LimitsMiddleware
from providers.secret import Secret


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


site = Starlette(routes=[Route("/", hello)])
limited = LimitsMiddleware(site, max_concurrency=100, rate_limit=2)
known = StaticAuthenticator(Secret("example-token"), "alice")
app = ErrorsMiddleware(AuthMiddleware(limited, authenticator=known))
