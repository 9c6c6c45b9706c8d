"""The options of one provider instance, as validated; `gateway.settings` fills them in.

A `Provider` is made from them and from the `ProviderType` that bears the name `type`.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

from providers.secret import Secret

TypeName: TypeAlias = Literal["openai", "anthropic", "copilot"]

INSTANCE_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
"""What a route segment may look like; match it whole."""

MAX_KEYS: Final = 5


class ProviderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A named instance of a provider type. An empty `base_url` means the default of the type."""

    type: TypeName
    name: str
    base_url: str = ""
    keys: tuple[Secret, ...] = ()
    """Central keys, the primary first; the others are its fallbacks."""
    enabled: bool = True
    bedrock_region: str = ""
    bedrock_base_url: str = ""
    """Wins over `bedrock_region` when both are given."""
    bedrock_access_keys: tuple[Secret, ...] = ()
    """AWS access key IDs; each belongs to the secret at the same place in `bedrock_access_key_secrets`."""
    bedrock_access_key_secrets: tuple[Secret, ...] = ()
    bedrock_model: str = ""
    bedrock_small_fast_model: str = ""

    @property
    def on_bedrock(self) -> bool:
        """Whether this instance reaches its models through Amazon Bedrock."""
        return bool(self.bedrock_region or self.bedrock_base_url)
