"""Our own errors in the shape of Anthropic's API.

    {"type": "error", "error": {"type": ..., "message": ...}}

Clients choose what to do by the status and by `error.type`; the shape has no place for a code. The names are those
of https://docs.anthropic.com/en/api/errors; a status that is not in the list is told as its class.
"""

from __future__ import annotations

from typing import Final

import msgspec

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(path: str, status: int, message: str, code: str = "") -> bytes:
    """An error of ours as Anthropic would word it. `path` and `code` have no place in this shape."""
    return msgspec.json.encode({"type": "error", "error": {"type": _type_of(status), "message": message}})


def _type_of(status: int) -> str:
    return _TYPES.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")
