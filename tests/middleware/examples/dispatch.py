"""What the application gets is the provider's request: its path, its host, the organisation's key."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from middleware.dispatch import ProviderDispatch
from middleware.errors import ErrorsMiddleware
from middleware.route import RouteMiddleware
from providers.base import Provider
from providers.openai.provider import OPENAI
from providers.registry import Registry
from providers.secret import Secret


async def show(request: Request) -> Response:
    return JSONResponse({"url": str(request.url), "key": request.headers["authorization"]})


site = Starlette(routes=[Route("/base/models", show)])
corp = Provider(OPENAI, "corp", "https://openai.example/base", keys=(Secret("example-key"),))
app = ErrorsMiddleware(RouteMiddleware(ProviderDispatch(site), locator=Registry([corp])))
