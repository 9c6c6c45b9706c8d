"""What the layers are built from: the collaborators that the composition root makes, or that a host passes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from middleware.errors import plain_error

if TYPE_CHECKING:
    from starlette.types import Scope

    from gateway.metrics.metrics import Metrics
    from gateway.settings import GatewayOptions
    from gateway.tracing import Tracing
    from middleware.auth import Authenticator
    from providers.registry import Registry
    from recorders.sink import Sink


@dataclass(frozen=True, slots=True)
class Parts:
    options: GatewayOptions
    registry: Registry
    authenticator: Authenticator
    sink: Sink
    metrics: Metrics | None = None
    """None: nothing is counted."""
    tracing: Tracing | None = None
    """None: nothing is traced."""

    @property
    def actor_headers(self) -> tuple[bytes, bytes]:
        """The names under which the gateway alone may tell a provider who is asking."""
        names = (self.options.actor_id_header, self.options.actor_username_header)
        return names[0].lower().encode("ascii"), names[1].lower().encode("ascii")

    @property
    def sent_actor_headers(self) -> tuple[bytes, bytes] | None:
        return self.actor_headers if self.options.send_actor_headers else None

    def error_shape(self, scope: Scope, status: int, message: str, code: str) -> bytes:
        """The shape of the provider that the path names, else the plain one."""
        body = self.registry.error_body(scope, status, message, code)
        return plain_error(scope, status, message, code) if body is None else body
