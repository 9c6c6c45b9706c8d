"""A reverse proxy below `/ai`: route, dispatch, upstream. `httpx.AsyncHTTPTransport()` would go to the network."""

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from middleware.dispatch import ProviderDispatch
from middleware.errors import ErrorsMiddleware
from middleware.route import RouteMiddleware
from middleware.upstream import Upstream
from providers.base import Provider
from providers.openai.provider import OPENAI
from providers.registry import Registry

transport = httpx.MockTransport(lambda request: httpx.Response(200, text=f"here is {request.url}"))
instances = Registry([Provider(OPENAI, "corp", "https://openai.example/v1")])
proxy = RouteMiddleware(ProviderDispatch(Upstream(transport)), locator=instances)
app = Starlette(routes=[Mount("/ai", app=ErrorsMiddleware(proxy))])
