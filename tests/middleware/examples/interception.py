"""Records what is asked of an application that speaks as OpenAI does, and what it answers."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.authenticators import StaticAuthenticator
from middleware.auth import AuthMiddleware
from middleware.body import BodyMiddleware
from middleware.errors import ErrorsMiddleware
from middleware.interception import InterceptionMiddleware
from middleware.route import RouteMiddleware
from providers.base import Provider
from providers.openai.provider import OPENAI
from providers.registry import Registry
from providers.secret import Secret
from recorders.stores.memory import MemoryStore


async def answer(request: Request) -> Response:
    usage = {"prompt_tokens": 2, "completion_tokens": 1}
    return JSONResponse({"id": "answer-1", "choices": [], "usage": usage})


records = MemoryStore()
site = Starlette(routes=[Route("/model/v1/chat/completions", answer, methods=["POST"])])
recorded = BodyMiddleware(InterceptionMiddleware(site, sink=records))
routed = RouteMiddleware(recorded, locator=Registry([Provider(OPENAI, "model", "")]))
known = StaticAuthenticator(Secret("example-token"), "alice")
app = ErrorsMiddleware(AuthMiddleware(routed, authenticator=known))
