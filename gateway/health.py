"""Says how the gateway is, to anybody: `/healthz`, whether it is alive, and `/readyz`, whether to send it requests.

Stands beside the pipeline and outside all of its layers: no token is asked for, no line is written to the access log,
and nothing is opened, awaited or counted. An answer names what is wrong in fixed words: no path, no name of a
provider, nothing of a request or a key, for the one who asks may be anybody.

`/healthz` answers 200 for as long as the process answers at all, also before the start and during the shutdown: a
supervisor that ends what isn't ready would make every trouble worse. Whether the database answers is asked by
neither: without it, requests are served and records wait. A file of SQLite that was removed or replaced under the
gateway is another matter, and a reason not to be ready.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from providers.registry import below_prefix

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = logging.getLogger("ai_gateway.health")

ALIVE: Final = "/healthz"
READY: Final = "/readyz"
"""`gateway.instances.RESERVED_NAMES` keeps provider instances from taking either."""


def is_health(scope: Mapping[str, Any]) -> bool:
    """Whether a request is for one of the two, at the application's root or below the prefix of the routes."""
    return scope["path"].endswith((ALIVE, READY)) and below_prefix(scope) in (ALIVE, READY)


class Health:
    """The application behind both paths. `troubles` says why no requests should come; none: it is ready."""

    def __init__(self, troubles: Callable[[], Sequence[str]]) -> None:
        self.troubles = troubles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, answer = self._answer(scope)
        body = msgspec.json.encode(answer)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        log.debug("probe", extra={"path": scope["path"], "status": status})
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, {"message": "only GET and HEAD"}
        if below_prefix(scope) == ALIVE:
            return 200, {"alive": True}
        reasons = list(self.troubles())
        return (503, {"ready": False, "reasons": reasons}) if reasons else (200, {"ready": True})
