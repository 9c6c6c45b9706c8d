"""Only callers with the token get in, and the application knows who they are."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.authenticators import StaticAuthenticator
from middleware.auth import AuthMiddleware
from middleware.errors import ErrorsMiddleware
from middleware.exchange import Exchange
from providers.secret import Secret


async def whoami(request: Request) -> Response:
    caller = Exchange.of(request.scope).caller
    return PlainTextResponse(caller.username if caller else "nobody")


site = Starlette(routes=[Route("/whoami", whoami)])
known = StaticAuthenticator(Secret("example-token"), "alice")
app = ErrorsMiddleware(AuthMiddleware(site, authenticator=known))
