"""Call the gateway in the same process, on behalf of the owner of an API key.

An httpx transport (for `httpx` and `httpx2` clients) whose other end is the gateway. It names the API key for whose
owner it calls: the identity travels on the ASGI scope, where nothing from a network can put it, and no gateway token is
needed. How it streams, hangs up and breaks is `gateway.asgi_transport`'s; this rewrites path and host, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.asgi_transport import AsgiTransport
from middleware.exchange import DELEGATION_KEY, Delegation

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

    from providers.base import Headers

HOST: Final = "ai-gateway"


class DelegationRequired(ValueError):
    """The transport was made without the ID of the key on whose behalf it calls."""


class GatewayTransport(AsgiTransport):
    """`provider` is an instance's name, `api_key_id` the key that is accountable, `source` who calls, for the logs.

    `headers` may change the headers (lower-case names) when they have left the client: what it adds, such as a user's
    own credential, stands on no object of the client's.

    Give it to a client, with a base URL of `http://ai-gateway/v1` for OpenAI's formats and `http://ai-gateway` for
    Anthropic's: `httpx2.AsyncClient(transport=GatewayTransport(app, provider="openai", api_key_id=key_id))`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        provider: str,
        api_key_id: str,
        source: str = "in-process",
        root_path: str = "",
        headers: Callable[[Headers], Headers] | None = None,
    ) -> None:
        if not provider:
            raise ValueError("provider must name an instance of the gateway")
        if not api_key_id:
            raise DelegationRequired("api_key_id must name the API key on whose behalf the gateway is called")
        super().__init__(app, rewrite=self._delegate)
        self._root_path = root_path
        self._headers = headers
        self._prefix = f"{root_path}/{provider}"
        self._delegation = Delegation(api_key_id, source)

    def _delegate(self, scope: Scope) -> Scope:
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        if self._headers is not None:
            headers = self._headers(headers)
        return {
            **scope,
            "root_path": self._root_path,
            "path": self._prefix + scope["path"],
            "raw_path": self._prefix.encode() + scope["raw_path"],
            "server": (HOST, None),
            "headers": [(b"host", HOST.encode()), *headers],
            DELEGATION_KEY: self._delegation,
        }
