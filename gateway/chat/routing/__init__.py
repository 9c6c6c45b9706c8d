"""Where model calls go, and with whose credential.

    routing = ModelRouting(mode=..., providers=..., user_keys=..., ends=Ends(gateway=app))
    async with routing.model(request, ModelOptions(active_api_key_id=key_id)) as model:
        ...  # model.client is an SDK's

A call needs a request, options and a route, which is direct or through the gateway: `ModelRouting` chooses it, and
`build_model` makes a client of it.
"""

from gateway.ai_providers import AiProvider
from gateway.chat.routing.build import Ends, Model, build_model
from gateway.chat.routing.errors import (
    ActiveKeyMissing,
    ModelUnnamed,
    ProviderDisabled,
    ProviderUnknown,
    ProviderUnnamed,
    RegionMissing,
    RouteUnset,
    RoutingError,
    StoredKeyUnusable,
    TransportMissing,
)
from gateway.chat.routing.requests import (
    ChatIdentity,
    HttpCall,
    ModelName,
    ModelOptions,
    ModelRequest,
    Purpose,
)
from gateway.chat.routing.router import Mode, ModelRouting, mode_of
from gateway.chat.routing.routes import (
    AiProviders,
    DirectRoute,
    GatewayRoute,
    ModelRoute,
    UserKeys,
)

__all__ = [
    "ActiveKeyMissing",
    "AiProvider",
    "AiProviders",
    "ChatIdentity",
    "DirectRoute",
    "Ends",
    "GatewayRoute",
    "HttpCall",
    "Mode",
    "Model",
    "ModelName",
    "ModelOptions",
    "ModelRequest",
    "ModelRoute",
    "ModelRouting",
    "ModelUnnamed",
    "ProviderDisabled",
    "ProviderUnknown",
    "ProviderUnnamed",
    "Purpose",
    "RegionMissing",
    "RouteUnset",
    "RoutingError",
    "StoredKeyUnusable",
    "TransportMissing",
    "UserKeys",
    "build_model",
    "mode_of",
]
