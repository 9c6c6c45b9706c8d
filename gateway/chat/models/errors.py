"""The border to the vendors' SDKs: whatever they raise leaves as a `ModelError` whose text is safe to show.

That is what the provider said of it, or a sentence of ours: no header, no URL, nothing of the request. The foreign
error stays behind it as its cause, and holds a placeholder where a credential would be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import anthropic
import httpx
import httpx2
import openai
from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError

from gateway.chat.content import ModelError

MAX_CHARS: Final = 500
"""Of what a provider says, in an error."""

_LATE: Final = (
    anthropic.APITimeoutError,
    openai.APITimeoutError,
    httpx2.TimeoutException,
    httpx.TimeoutException,
)
_CUT: Final = (
    anthropic.APIConnectionError,
    openai.APIConnectionError,
    httpx2.HTTPError,
    httpx2.StreamError,
    httpx.HTTPError,
    httpx.StreamError,
)
# The SDKs build their events without validating them: what is of another shape than promised shows where it's read.
_UNREADABLE: Final = (ValueError, TypeError, AttributeError, LookupError, RecursionError, ParserError)


@contextmanager
def model_errors(provider: str) -> Iterator[None]:
    """`provider` is the name by which the person knows it."""
    try:
        yield
    except (anthropic.APIStatusError, openai.APIStatusError) as error:
        # An error in mid-stream comes with the status of the answer that it ended.
        status = error.status_code if error.status_code >= 400 else 0
        default = (
            f"{provider} answered with HTTP {status}." if status else f"{provider} broke off its answer."
        )
        raise ModelError(_said(_body(error)) or default, status=status) from error
    except _LATE as error:
        raise ModelError(f"{provider} didn't answer in time.") from error
    except _CUT as error:
        raise ModelError(f"The connection to {provider} failed or broke off.") from error
    except (anthropic.APIError, openai.APIError) as error:
        raise ModelError(_said({"error": error.body}) or f"{provider} broke off its answer.") from error
    except _UNREADABLE as error:
        raise ModelError(f"{provider} answered with something that can't be read.") from error
    except (anthropic.AnthropicError, openai.OpenAIError, BotoCoreError, RuntimeError) as error:
        # RuntimeError: how the SDK says that there are no AWS credentials.
        raise ModelError(f"{provider} can't be called: {type(error).__name__}.") from error


def refused(message: str | None, provider: str) -> ModelError:
    """For an error that came as an event of the answer."""
    return ModelError(_shown(message or "") or f"{provider} broke off its answer.")


def _body(error: anthropic.APIStatusError | openai.APIStatusError) -> object:
    """OpenAI's SDK has taken it out of its `error` already, which small servers fill with a text. A text that comes
    without JSON around it is some proxy's page."""
    is_json = "json" in error.response.headers.get("content-type", "")
    return {"error": error.body} if is_json and isinstance(error.body, str) else error.body


def _said(body: object) -> str:
    """The message in an error's body, in any of the ways in which providers put it; empty for what is no such body."""
    if not isinstance(body, Mapping):
        return ""
    inner = body.get("error")
    if isinstance(inner, Mapping):
        return _said(inner)
    for text in (body.get("message"), body.get("Message"), inner, body.get("detail")):
        if isinstance(text, str) and text.strip():
            return _shown(text)
    return ""


def _shown(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
