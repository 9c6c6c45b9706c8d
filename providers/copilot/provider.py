"""GitHub Copilot: always with the user's own token, in the formats of OpenAI and Anthropic."""

from __future__ import annotations

from typing import Final

from providers.anthropic.errors import error_body as anthropic_error_body
from providers.anthropic.messages import MESSAGES
from providers.base import ANY, BEARER, GET, POST, Endpoint, ProviderType
from providers.openai.chat import CHAT_COMPLETIONS
from providers.openai.errors import error_body as openai_error_body
from providers.openai.responses import RESPONSES


def error_body(path: str, status: int, message: str, code: str) -> bytes:
    """In the shape of the API that was asked for."""
    shape = anthropic_error_body if path.startswith("/v1/messages") else openai_error_body
    return shape(path, status, message, code)


COPILOT: Final = ProviderType(
    name="copilot",
    default_base_url="https://api.individual.githubcopilot.com",
    endpoints=(
        Endpoint(POST, "/chat/completions", CHAT_COMPLETIONS),
        Endpoint(POST, "/responses", RESPONSES),
        Endpoint(POST, "/v1/messages", MESSAGES),
        Endpoint(ANY, "/_ping"),
        Endpoint(ANY, "/auto"),
        Endpoint(GET, "/models"),
        Endpoint(GET, "/models/*"),
        Endpoint(ANY, "/agents/*"),
        Endpoint(ANY, "/mcp/*"),
        Endpoint(GET, "/.well-known/*"),
    ),
    slots=(BEARER,),
    error_body=error_body,
    byok_only=True,
)
