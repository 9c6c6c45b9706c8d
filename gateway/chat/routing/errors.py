"""Why a model call can't be routed: each rule that fails closed has an error of its own, whose text is safe to show.

    RoutingError
    ├── RouteUnset          no route was given
    ├── ModelUnnamed        the request names no model
    ├── ProviderUnnamed     nor which provider has it
    ├── ProviderUnknown     there is no row for that name
    ├── ProviderDisabled    an operator turned it off
    ├── ActiveKeyMissing    gateway mode, and no API key is accountable
    ├── TransportMissing    no way to the gateway, or to the provider
    ├── RegionMissing       direct to Bedrock, and neither the row nor the environment names a region
    └── StoredKeyUnusable   the user's own key is there and can't be decrypted

None of them is worth trying again: the turn ends with it. Trouble with the database is a `StoreError`.
"""

from __future__ import annotations


class RoutingError(Exception):
    """The call is not made; the text says why, and what to do."""


class RouteUnset(RoutingError):
    def __init__(self) -> None:
        super().__init__("No route was chosen for this model call: resolve one before building the model.")


class ModelUnnamed(RoutingError):
    def __init__(self, purpose: str) -> None:
        super().__init__(f"No model is chosen for {purpose}: name one as provider/model.")


class ProviderUnnamed(RoutingError):
    def __init__(self) -> None:
        super().__init__("The model call names no AI provider: name one as provider/model.")


class ProviderUnknown(RoutingError):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is no AI provider {name[:64]!r}: ask an operator to configure it.")


class ProviderDisabled(RoutingError):
    def __init__(self, name: str) -> None:
        super().__init__(f"The AI provider {name!r} is disabled: choose a model of another one.")


class ActiveKeyMissing(RoutingError):
    def __init__(self) -> None:
        super().__init__(
            "No API key is accountable for this turn: its last message came without one, or the key was deleted. "
            "Send a new message with a key that works."
        )


class TransportMissing(RoutingError):
    def __init__(self, where: str) -> None:
        super().__init__(f"Model calls go {where}, and this service was given no transport for that.")


class RegionMissing(RoutingError):
    def __init__(self, provider: str) -> None:
        super().__init__(
            f"The AI provider {provider!r} is on Amazon Bedrock, and no AWS region is known: ask an operator to set "
            "its BEDROCK_REGION."
        )


class StoredKeyUnusable(RoutingError):
    def __init__(self, provider: str) -> None:
        super().__init__(
            f"Your own key for the AI provider {provider!r} can't be decrypted: set it again, or delete it to use the "
            "organisation's."
        )
