"""A relay that never forwards a caller's token to this application: only the user's own credential, under BYOK."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from middleware.errors import ErrorsMiddleware
from middleware.exchange import Exchange
from middleware.governance import GovernanceMiddleware


async def show(request: Request) -> Response:
    kind = Exchange.of(request.scope).credential_kind
    return JSONResponse({"kind": kind, "authorization": request.headers.get("authorization")})


app = ErrorsMiddleware(GovernanceMiddleware(Starlette(routes=[Route("/", show)]), allow_byok=True))
