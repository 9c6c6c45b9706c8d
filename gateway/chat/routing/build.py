"""From a route to a client of the vendor's SDK that is bound to the right transport.

Anthropic's format for anthropic and bedrock, OpenAI's for all else. Whatever the mode, the SDK holds a placeholder;
credentials are the transport's matter (`gateway.chat.routing.credentials`). Central keys are never forwarded to the
gateway: its own policy decides about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, assert_never, cast
from urllib.parse import urlsplit

import anthropic
import httpx2
import openai

from gateway.ai_providers import AiProvider
from gateway.chat.routing.credentials import PLACEHOLDER, Carried, slot_of
from gateway.chat.routing.errors import (
    ActiveKeyMissing,
    ModelUnnamed,
    ProviderDisabled,
    ProviderUnnamed,
    RegionMissing,
    RouteUnset,
    TransportMissing,
)
from gateway.chat.routing.requests import ModelName, ModelOptions, ModelRequest
from gateway.chat.routing.routes import DirectRoute, GatewayRoute, ModelRoute
from gateway.chat.routing.transport import HeadersTransport, RecordingTransport
from gateway.transport import HOST, GatewayTransport
from middleware.exchange import DELEGATED_MARKER, GOVERNANCE_HEADER
from middleware.governance import CREDENTIAL_SLOTS
from providers.registry import PROVIDER_TYPES

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SOURCE: Final = "agents"
"""How the gateway's logs call a caller that came this way."""

DIRECT_RETRIES: Final = 2
"""The SDK's own. Through the gateway there are none: it retries, and knows better when."""

TIMEOUT: Final = httpx2.Timeout(connect=10.0, read=600.0, write=600.0, pool=None)
"""Seconds. A model may think for ten minutes before it says something."""

OPENAI_HOSTS: Final = frozenset({"api.openai.com", "us.api.openai.com", "eu.api.openai.com", "chatgpt.com"})
"""Who serves the Responses API for certain; others speak Chat completions."""

Client: TypeAlias = anthropic.AsyncAnthropic | anthropic.AsyncAnthropicBedrock | openai.AsyncOpenAI
Format: TypeAlias = Literal["messages", "responses", "chat"]
CredentialKind: TypeAlias = Literal["byok", "centralized"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be called. Whoever built it closes it."""

    name: ModelName
    client: Client
    format: Format
    """`responses` for OpenAI itself, `chat` for what is only compatible with it."""
    credential_kind: CredentialKind
    routed: Literal["gateway", "direct"]

    async def aclose(self) -> None:
        await self.client.close()


@dataclass(frozen=True, slots=True)
class Ends:
    """Where calls can go. `direct` is shared by all of them and closed by whoever made it."""

    gateway: ASGIApp | None = None
    direct: httpx2.AsyncBaseTransport | None = None


def build_model(
    request: ModelRequest, route: ModelRoute | None, options: ModelOptions, *, ends: Ends
) -> Model:
    """Raises one `RoutingError` for whatever is missing; never falls back from the gateway to a direct route."""
    if route is None:
        raise RouteUnset
    _check(request, route.provider)
    match route:
        case GatewayRoute():
            return _through_gateway(request, route, options, ends)
        case DirectRoute():
            return _direct(request, route, options, ends)
        case _:
            assert_never(route)


def _check(request: ModelRequest, provider: AiProvider) -> None:
    if not provider.name:
        raise ProviderUnnamed
    if not provider.enabled:
        raise ProviderDisabled(provider.name)
    if not request.model.model:
        raise ModelUnnamed(request.purpose.value)


def _through_gateway(request: ModelRequest, route: GatewayRoute, options: ModelOptions, ends: Ends) -> Model:
    if not options.active_api_key_id:
        raise ActiveKeyMissing
    if ends.gateway is None:
        raise TransportMissing("through the gateway")
    provider = route.provider
    carried = None
    if route.user_key is not None:
        marker = (GOVERNANCE_HEADER, DELEGATED_MARKER.encode())
        carried = Carried(slot_of(provider.type), route.user_key, marker)
    transport = GatewayTransport(
        ends.gateway,
        provider=provider.name,
        api_key_id=options.active_api_key_id,
        source=SOURCE,
        headers=carried.put_on if carried else None,
    )
    http, headers = _http_client(transport, options), _headers(request, told=request.chat.headers)
    # An instance on Bedrock is called as Anthropic is; the gateway does the rest.
    client: Client
    if provider.type in ("anthropic", "bedrock"):
        client = _anthropic(f"http://{HOST}", headers, http, retries=0)
    else:
        prefix = PROVIDER_TYPES[provider.type].client_prefix
        client = _openai(f"http://{HOST}{prefix}", headers, http, retries=0)
    kind: CredentialKind = "byok" if carried else "centralized"
    return Model(request.model, client, _format(provider), kind, "gateway")


def _direct(request: ModelRequest, route: DirectRoute, options: ModelOptions, ends: Ends) -> Model:
    provider = route.provider
    if ends.direct is None:
        raise TransportMissing("straight to the provider")
    ambient = provider.type == "bedrock" and route.key is None
    slot = slot_of(
        "openai" if provider.type == "bedrock" else provider.type
    )  # Bedrock's own keys are bearers
    carried = None if route.key is None else Carried(slot, route.key)
    http = _http_client(ends.direct if ambient else HeadersTransport(ends.direct, carried), options)
    headers = _headers(request, told={})  # which chat asks is no matter of the provider's
    client: Client
    if provider.type == "bedrock":
        client = _bedrock(provider, headers, http, ambient=ambient)
    elif provider.type == "anthropic":
        client = _anthropic(provider.base_url, headers, http, retries=DIRECT_RETRIES)
    else:
        client = _openai(provider.base_url, headers, http, retries=DIRECT_RETRIES)
    kind: CredentialKind = "byok" if route.key_is_users else "centralized"
    return Model(request.model, client, _format(provider), kind, "direct")


def _bedrock(
    provider: AiProvider, headers: dict[str, str], http: httpx2.AsyncClient, *, ambient: bool
) -> anthropic.AsyncAnthropicBedrock:
    try:
        return anthropic.AsyncAnthropicBedrock(
            aws_region=provider.region or None,
            base_url=provider.base_url,
            api_key=None if ambient else PLACEHOLDER,
            default_headers=headers,
            http_client=http,
            max_retries=DIRECT_RETRIES,
        )
    except ValueError as error:  # it looks for a region in the environment too
        raise RegionMissing(provider.name) from error


def _anthropic(
    base_url: str, headers: dict[str, str], http: httpx2.AsyncClient, *, retries: int
) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=base_url,
        api_key=PLACEHOLDER,
        default_headers=headers,
        http_client=http,
        max_retries=retries,
    )


def _openai(
    base_url: str, headers: dict[str, str], http: httpx2.AsyncClient, *, retries: int
) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=PLACEHOLDER,
        default_headers=headers,
        http_client=http,
        max_retries=retries,
    )


def _http_client(transport: Any, options: ModelOptions) -> httpx2.AsyncClient:
    """Nothing of the environment: no proxy, no .netrc. A redirect would carry a credential where it doesn't belong."""
    if options.record_http is not None:
        transport = RecordingTransport(transport, options.record_http)
    return httpx2.AsyncClient(
        transport=cast("httpx2.AsyncBaseTransport", transport),
        trust_env=False,
        follow_redirects=False,
        timeout=TIMEOUT,
    )


def _headers(request: ModelRequest, *, told: Mapping[str, str]) -> dict[str, str]:
    extra = {
        name: value
        for name, value in request.extra_headers.items()
        if name.lower().encode("latin-1", "replace") not in CREDENTIAL_SLOTS
    }
    return {**extra, **told, "User-Agent": request.user_agent}


def _format(provider: AiProvider) -> Format:
    if provider.type in ("anthropic", "bedrock"):
        return "messages"
    official = urlsplit(provider.base_url).hostname in OPENAI_HOSTS
    return "responses" if official else "chat"
