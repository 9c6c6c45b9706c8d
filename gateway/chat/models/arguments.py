"""Arguments of a tool call as a provider takes them back: a JSON object, whatever the model wrote.

A model may write what is no JSON, or be cut off in the middle of it. Anthropic wants an object, and many servers of
OpenAI's format parse the text, so that one bad call would break every request after it. The text goes back wrapped,
and the model sees what it had written.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

WRAPPER: Final = "invalid_json"


def as_object(arguments: str) -> dict[str, Any]:
    if not arguments.strip():
        return {}
    parsed = _parsed(arguments)
    return parsed if isinstance(parsed, dict) else {WRAPPER: arguments}


def as_text(arguments: str) -> str:
    """The model's own text wherever it is good: a provider's cache goes by the letter."""
    if isinstance(_parsed(arguments), dict):
        return arguments
    return msgspec.json.encode(as_object(arguments)).decode()


def _parsed(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
