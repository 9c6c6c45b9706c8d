"""No request body over the limit reaches the application; any other arrives whole."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.body import BodyMiddleware
from middleware.errors import ErrorsMiddleware


async def measure(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


site = Starlette(routes=[Route("/", measure, methods=["POST"])])
app = ErrorsMiddleware(BodyMiddleware(site, max_bytes=1000))
