"""The names under which traces tell of model calls, and nothing else in the project writes one of them.

They are those of OpenTelemetry's semantic conventions: for generative AI (`gen_ai.*`, still in development there, so
they may change with a version), for HTTP and for servers; what these have no name for is below `ai_gateway.`. Which
provider it is goes by `gen_ai.provider.name`, and by `gen_ai.system` as well, its name until 2025, which many who read
traces still look for.

No prompt, no answer and no argument of a tool is an attribute, but for the last user prompt where `trace_prompts` asks
for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from providers.bedrock.provider import BedrockProvider

if TYPE_CHECKING:
    from providers.base import Provider, RequestFacts, Route
    from recorders.spans import Value
    from recorders.summaries import Summary

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
SYSTEM: Final = "gen_ai.system"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_ID: Final = "gen_ai.response.id"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_INPUT_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"

ERROR_TYPE: Final = "error.type"
HTTP_METHOD: Final = "http.request.method"
HTTP_RESENDS: Final = "http.request.resend_count"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"
USER_ID: Final = "user.id"

API: Final = "ai_gateway.api"
ATTEMPT: Final = "ai_gateway.attempt"
CLIENT: Final = "ai_gateway.client"
CLIENT_LEFT: Final = "ai_gateway.client_left"
CREDENTIAL_KIND: Final = "ai_gateway.credential_kind"
INTERCEPTION_ID: Final = "ai_gateway.interception_id"
OUTCOME: Final = "ai_gateway.outcome"
PROVIDER_INSTANCE: Final = "ai_gateway.provider"
REQUEST_ID: Final = "ai_gateway.request_id"
TOOL_CALLS: Final = "ai_gateway.tool_calls"

CHAT: Final = "chat"
FAILED: Final = frozenset({"upstream_failed", "refused"})
"""The outcomes whose type of error is one: an answer that was whole and could not be read is not."""
MAX_MODEL_CHARACTERS: Final = 128
"""A client may name a model of any length, and it stands in the names of spans."""
MAX_PROMPT_CHARACTERS: Final = 16_384

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_AZURE: Final = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


def method_of(method: str) -> str:
    """The method, or what stands for one that nobody knows, of which there is no end."""
    return method if method in _METHODS else "_OTHER"


def call_name(method: str, facts: RequestFacts | None, route: str = "") -> str:
    """The name of a span: the operation and its model, for other requests the method and the route."""
    if facts is not None:
        return f"{CHAT} {facts.model[:MAX_MODEL_CHARACTERS]}".rstrip()
    return f"{method if method in _METHODS else 'HTTP'} {route}".rstrip()


def route_of(provider: Provider, route: Route) -> str:
    """The route as it is listed, below the prefix: what a client puts into a path is not part of it."""
    return f"/{provider.name}{provider.type.client_prefix}{route.endpoint.path}"


def call_attributes(provider: Provider, route: Route, facts: RequestFacts | None) -> dict[str, Value]:
    """What is known of a call before it is made."""
    attributes: dict[str, Value] = {PROVIDER_INSTANCE: provider.name}
    if route.api is not None and facts is not None:
        vendor = _vendor(provider)
        attributes |= {OPERATION_NAME: CHAT, PROVIDER_NAME: vendor, SYSTEM: vendor, API: route.api.name}
        if facts.model:
            attributes[REQUEST_MODEL] = facts.model[:MAX_MODEL_CHARACTERS]
    return attributes


def _vendor(provider: Provider) -> str:
    if isinstance(provider, BedrockProvider):
        return "aws.bedrock"
    if (provider.url.hostname or "").endswith(_AZURE):
        return "azure.ai.openai"
    return provider.type.name


def answer_attributes(summary: Summary) -> dict[str, Value]:
    """What its records say of a call that is over. Cached tokens are input tokens too, say the conventions."""
    attributes: dict[str, Value] = {TOOL_CALLS: summary.tool_calls}
    texts = {
        CLIENT: summary.client,
        CONVERSATION_ID: summary.session_id,
        RESPONSE_ID: summary.response_id,
        OUTCOME: summary.outcome,
        ERROR_TYPE: summary.error_type if summary.outcome in FAILED else None,
    }
    attributes |= {name: text for name, text in texts.items() if text}
    if summary.responses:
        cached, written = summary.cache_read_input_tokens, summary.cache_write_input_tokens
        attributes |= {
            INPUT_TOKENS: summary.input_tokens + cached + written,
            OUTPUT_TOKENS: summary.output_tokens,
            CACHE_READ_INPUT_TOKENS: cached,
            CACHE_CREATION_INPUT_TOKENS: written,
        }
    if summary.prompt is not None:
        attributes[INPUT_MESSAGES] = _as_messages(summary.prompt)
    return attributes


def _as_messages(prompt: str) -> str:
    text = prompt[:MAX_PROMPT_CHARACTERS].encode(errors="replace").decode()
    return msgspec.json.encode([{"role": "user", "parts": [{"type": "text", "content": text}]}]).decode()
