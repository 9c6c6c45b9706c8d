"""Every request and answer of an application, in text files below a folder, with their credentials masked."""

import tempfile

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.dump import DumpMiddleware


async def shout(request: Request) -> Response:
    return PlainTextResponse((await request.body()).upper())


folder = tempfile.mkdtemp()
app = DumpMiddleware(Starlette(routes=[Route("/shout", shout, methods=["POST"])]), directory=folder)
