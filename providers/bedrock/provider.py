"""An Anthropic instance whose models run on Amazon Bedrock: its routes, and what its requests are made with.

To clients and in the records it is of type anthropic. Its central credential, where it has static ones, is the access
key ID; the secret that belongs to it stays with the signer. A user's own credential is an Amazon Bedrock API key, which
comes in either header of Anthropic's clients, goes out as a bearer and is not signed with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from providers.anthropic.errors import error_body
from providers.anthropic.messages import MESSAGES
from providers.anthropic.provider import FAILING
from providers.base import BEARER, POST, X_API_KEY, Credential, Endpoint, Header, Provider, ProviderType
from providers.bedrock.request import Models
from providers.bedrock.signer import Signer

ANTHROPIC_ON_BEDROCK: Final = ProviderType(
    name="anthropic",
    default_base_url="",
    endpoints=(Endpoint(POST, "/v1/messages", MESSAGES),),
    slots=(BEARER, X_API_KEY),
    error_body=error_body,
    failing_statuses=FAILING,
)

_REGION: Final = re.compile(
    r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BedrockProvider(Provider):
    """A named, configured instance on Bedrock."""

    models: Models
    signer: Signer

    def user_credential(self, headers: Sequence[Header]) -> Credential | None:
        """The user's own Amazon Bedrock API key: a bearer for AWS, also where it came in `X-Api-Key`."""
        # Not `super()`: a dataclass with slots is not the class that the method was written in.
        credential = Provider.user_credential(self, headers)
        return replace(credential, slot=BEARER) if credential else None


def base_url_of(region: str) -> str:
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"https://bedrock-runtime.{region}.amazonaws.com{suffix}"


def region_of(host: str) -> str:
    """The region that an address of AWS names; empty for any other address."""
    found = _REGION.search(host)
    return found[1] if found else ""
