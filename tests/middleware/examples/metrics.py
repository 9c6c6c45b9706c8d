"""The example of the metrics layer."""

from prometheus_client import Counter, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from middleware.metrics import Measured, MetricsMiddleware

answers = Counter("hello_answers_total", "Answers, by their status.", ["status"])


class Meter:
    def began(self, request: Measured) -> None:
        """Nothing to count yet."""

    def answering(self, request: Measured) -> None:
        answers.labels(request.status).inc()

    def ended(self, request: Measured) -> None:
        """`request` has duration, first byte and error now."""


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


site = MetricsMiddleware(Starlette(routes=[Route("/", hello)]), meter=Meter())
app = Starlette(routes=[Mount("/metrics", make_asgi_app()), Mount("/", site)])
