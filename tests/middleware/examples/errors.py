"""Raise anywhere; the client gets the status, the message and `Retry-After`."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from middleware.errors import ErrorsMiddleware, Unavailable


async def report(request: Request) -> Response:
    raise Unavailable("the report is being written", retry_after_s=30)


app = Starlette(routes=[Route("/report", report)], middleware=[Middleware(ErrorsMiddleware)])
