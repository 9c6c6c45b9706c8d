"""Our errors in Anthropic's shape."""

from __future__ import annotations

import json

import pytest

from providers.anthropic.errors import error_body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (501, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_its_type(status: int, kind: str) -> None:
    """Clients decide by the type; the message is ours, word for word."""
    assert json.loads(error_body("/v1/messages", status, 'say "hi" ü', "code")) == {
        "type": "error",
        "error": {"type": kind, "message": 'say "hi" ü'},
    }
