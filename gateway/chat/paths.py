"""Which requests are the chat service's. It loads nothing, so that a gateway without chats can ask too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from providers.registry import below_prefix

CHATS: Final = "chats"
"""The first segment of the paths; `gateway.instances.RESERVED_NAMES` keeps instances from taking it."""


def is_chat(scope: Mapping[str, Any]) -> bool:
    return below_prefix(scope)[1:].partition("/")[0] == CHATS
