"""An application that sees no cookie and no forwarding header, and sets no cookie."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from middleware.header_strip import HeaderStripMiddleware


async def show(request: Request) -> Response:
    answer = JSONResponse(request.headers.keys())
    answer.set_cookie("session", "never-leaves")
    return answer


app = HeaderStripMiddleware(Starlette(routes=[Route("/", show)]), actor_headers=[b"x-actor-id"])
