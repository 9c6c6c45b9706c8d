"""The example of the tracing layer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middleware.tracing import TracingMiddleware
from recorders.otlp import OtlpTracer

tracer = OtlpTracer("http://127.0.0.1:4318")


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    tracer.open()
    yield
    await tracer.close()


app = TracingMiddleware(Starlette(routes=[Route("/", hello)], lifespan=lifespan), tracer=tracer)
