"""The errors that providers report, in an error body or in mid-stream, whatever shape they gave them."""

from __future__ import annotations

from typing import Final

from providers.base import ProviderFailure

_MAX_CHARS: Final = 8 * 1024
"""An error message that is longer is a page, not a message."""


def failure(error: object) -> ProviderFailure | None:
    """The failure in a decoded `error` member: an object, or in some proxies a bare string; None for null."""
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict) or not error:
        return None
    kind = next((error[key] for key in ("type", "code", "status") if error.get(key) is not None), "error")
    message = error.get("message")
    return ProviderFailure(
        type=str(kind)[:_MAX_CHARS], message=message[:_MAX_CHARS] if isinstance(message, str) else ""
    )
