"""Anthropic, and whatever speaks like it."""

from __future__ import annotations

from typing import Final

from providers.anthropic.errors import error_body
from providers.anthropic.messages import MESSAGES
from providers.base import ANY, BEARER, GET, POST, X_API_KEY, Endpoint, ProviderType

FAILING: Final = frozenset({503, 504, 529})
"""529 is Anthropic's own word for overloaded (https://docs.claude.com/en/api/errors)."""

ANTHROPIC: Final = ProviderType(
    name="anthropic",
    default_base_url="https://api.anthropic.com/",
    endpoints=(
        Endpoint(POST, "/v1/messages", MESSAGES),
        Endpoint(POST, "/v1/messages/count_tokens"),
        Endpoint(GET, "/v1/models"),
        Endpoint(GET, "/v1/models/*"),
        Endpoint(ANY, "/api/event_logging/*"),
    ),
    slots=(X_API_KEY, BEARER),
    error_body=error_body,
    failing_statuses=FAILING,
)
