"""Makes the scripted provider as strict as Amazon Bedrock where it is asked as Amazon Bedrock.

It refuses what is not rightly signed, and a body with a member, a beta flag or a way to think that the model doesn't
know. What else is asked of it is answered as ever.

Members: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.answers import bedrock
from tests.aws_signature import problem
from tests.middleware.bedrock import ACCOUNTS, REGION
from tests.upstream import Received, Reply

VERSION = "bedrock-2023-05-31"
FLAGS = {"interleaved-thinking-2025-05-14", "context-management-2025-06-27"}
"""Of those that Claude Code sends, the ones that the two default models know."""
MEMBERS = {
    *("anthropic_version", "anthropic_beta", "max_tokens", "messages", "stop_sequences", "system"),
    *("temperature", "thinking", "tool_choice", "tools", "top_k", "top_p", "context_management"),
}
"""The last one belongs to a beta."""


def judging(answer: Callable[[Received], Reply]) -> Callable[[Received], Reply]:
    """`answer`, but an error of Bedrock's to what Bedrock would refuse."""

    def judged(request: Received) -> Reply:
        if not request.path.startswith("/bedrock/"):
            return answer(request)
        if why := problem(request, ACCOUNTS, region=REGION):
            return bedrock.error(403, "InvalidSignatureException", {"message": why})
        if why := _malformed(request.json):
            return bedrock.error(400, "ValidationException", {"message": why})
        return answer(request)

    return judged


def _malformed(body: dict[str, Any]) -> str:
    """Why Bedrock would refuse the body; empty when it would not."""
    flags = set(body.get("anthropic_beta", ()))
    thinking = body.get("thinking", {"type": "disabled"})
    problems = {
        "anthropic_version": body.get("anthropic_version") != VERSION,
        "members that are not permitted": set(body) - MEMBERS,
        "invalid beta flags": flags - FLAGS,
        "context_management without its flag": "context_management" in body
        and "context-management-2025-06-27" not in flags,
        "thinking": thinking["type"] not in ("enabled", "disabled"),
        "budget_tokens": thinking["type"] == "enabled"
        and not 1024 <= thinking.get("budget_tokens", 0) < body["max_tokens"],
    }
    return ", ".join(name for name, wrong in problems.items() if wrong)
