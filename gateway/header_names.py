"""Which names the actor headers may have: RFC 9110 tokens that collide with nothing.

An actor header is added to a request that goes to a provider. A name that the request already uses for something
else would replace a credential, break the framing, or be taken out again on the way.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)

# fmt: off
_TAKEN: Final = frozenset([
    # credentials
    "api-key", "authorization", "chatgpt-account-id", "cookie", "proxy-authenticate",
    "proxy-authorization", "set-cookie", "www-authenticate", "x-api-key", "x-auth-token",
    "x-goog-api-key",
    # framing
    "connection", "content-encoding", "content-language", "content-length", "content-type",
    "expect", "host", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
    # the way of the request
    "forwarded", "baggage", "traceparent", "tracestate", "via", "x-request-id",
    # what the clients say of themselves and of what they ask
    "accept", "accept-encoding", "accept-language", "cache-control", "copilot-integration-id",
    "date", "editor-version", "idempotency-key", "origin", "originator", "pragma", "range",
    "referer", "session-id", "session_id", "thread-id", "user-agent", "version", "x-app",
])
# fmt: on

_TAKEN_BEGINNINGS: Final = (
    "anthropic-",
    "openai-",
    "sec-",
    "x-ai-gateway-",
    "x-amz-",
    "x-amzn-",
    "x-claude-code-",
    "x-codex-",
    "x-coder-",
    "x-forwarded-",
    "x-stainless-",
)


def is_token(name: str) -> bool:
    """Whether `name` is a token of RFC 9110, section 5.6.2."""
    return _TOKEN.fullmatch(name) is not None


def is_taken(name: str) -> bool:
    """Whether `name` already means something to a client, a provider, or this gateway."""
    folded = name.lower()
    return folded in _TAKEN or folded.startswith(_TAKEN_BEGINNINGS)
