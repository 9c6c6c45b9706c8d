"""OpenAI, and whatever speaks like it: Azure, ChatGPT's Codex backend, LiteLLM, corporate proxies.

A client's base URL ends in `/v1`, and so does the instance's: the prefix is not repeated upstream.
"""

from __future__ import annotations

from typing import Final

from providers.base import ANY, BEARER, GET, POST, X_API_KEY, Endpoint, ProviderType
from providers.openai.chat import CHAT_COMPLETIONS
from providers.openai.errors import error_body
from providers.openai.responses import RESPONSES

OPENAI: Final = ProviderType(
    name="openai",
    default_base_url="https://api.openai.com/v1/",
    client_prefix="/v1",
    endpoints=(
        Endpoint(POST, "/chat/completions", CHAT_COMPLETIONS),
        Endpoint(POST, "/responses", RESPONSES),
        Endpoint(GET, "/models"),
        Endpoint(GET, "/models/*"),
        Endpoint(ANY, "/conversations"),
        Endpoint(ANY, "/conversations/*"),
        Endpoint(ANY, "/responses/*"),
    ),
    slots=(BEARER, X_API_KEY),
    error_body=error_body,
)
