"""Our errors in OpenAI's shape."""

from __future__ import annotations

import json

import pytest

from providers.openai.errors import error_body


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "invalid_request_error", "invalid_api_key"),
        (403, "invalid_request_error", "forbidden"),
        (404, "invalid_request_error", "not_found"),
        (413, "invalid_request_error", "request_too_large"),
        (415, "invalid_request_error", "unsupported_media_type"),
        (422, "invalid_request_error", None),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "server_error", None),
        (501, "invalid_request_error", "not_implemented"),
        (502, "server_error", "bad_gateway"),
        (503, "server_error", "service_unavailable"),
        (504, "server_error", "timeout"),
    ],
)
def test_each_status_has_its_type_and_code(status: int, kind: str, code: str | None) -> None:
    """All four members are there, as SDKs expect."""
    assert json.loads(error_body("/responses", status, 'say "hi" ü')) == {
        "error": {"message": 'say "hi" ü', "type": kind, "param": None, "code": code}
    }


def test_a_code_of_ours_takes_the_place_of_the_usual_one() -> None:
    """It says more than the status."""
    assert (
        json.loads(error_body("/responses", 503, "m", "provider_disabled"))["error"]["code"]
        == "provider_disabled"
    )
