"""What of an earlier answer a model may be shown again: its text, its calls, and its own reasoning.

Reasoning is signed or encrypted by whoever thought it; another model can't read it, and its provider refuses it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from gateway.chat.content import Part, Reasoning, Text
from gateway.chat.routing.requests import ModelName


def readable(parts: Sequence[Part], name: ModelName, types: Collection[str]) -> list[Part]:
    """Without blank texts, and without reasoning but that of `name` whose block is one of `types`.

    Reasoning at the end is left out too: providers want to see what it led to.
    """
    kept = [part for part in parts if _is_readable(part, name, types)]
    while kept and isinstance(kept[-1], Reasoning):
        kept.pop()
    return kept


def block_of(reasoning: Reasoning) -> dict[str, Any]:
    """What the provider wants back; empty for what can't be read."""
    try:
        return msgspec.json.decode(reasoning.opaque, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        return {}


def opaque_of(block: dict[str, Any]) -> str:
    return msgspec.json.encode(block).decode()


def _is_readable(part: Part, name: ModelName, types: Collection[str]) -> bool:
    match part:
        case Text(text=text):
            return bool(text.strip())
        case Reasoning():
            of_this_model = (part.provider, part.model) == name
            return of_this_model and block_of(part).get("type") in types
        case _:
            return True
