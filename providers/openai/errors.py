"""Our own errors in the shape of OpenAI's API.

    {"error": {"message": ..., "type": ..., "param": null, "code": ...}}

Clients choose what to do by the status, by `error.type` and, where they look closer, by `error.code`; so each status
has the pair that the API itself, or a compatible one, sends with it
(https://platform.openai.com/docs/guides/error-codes). A code of ours says more and takes the place of the usual one.
"""

from __future__ import annotations

from typing import Final

import msgspec

_TYPES: Final = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "forbidden"),
    404: ("invalid_request_error", "not_found"),
    413: ("invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "unsupported_media_type"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    501: ("invalid_request_error", "not_implemented"),
    502: ("server_error", "bad_gateway"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "timeout"),
}


def error_body(path: str, status: int, message: str, code: str = "") -> bytes:
    """An error of ours as OpenAI would word it. An empty `code` becomes the usual one of `status`."""
    kind, usual = _TYPES.get(status) or (
        "invalid_request_error" if 400 <= status < 500 else "server_error",
        None,
    )
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": None, "code": code or usual}}
    )
