"""Vendors' formats, each spoken through the vendor's SDK: `speaker_for(model)` chooses.

Beside each format stands the reader of its answers. `speaking` is what they share.
"""

from __future__ import annotations

import openai

from gateway.chat.content import Speaker
from gateway.chat.models.chat_completions import ChatCompletions
from gateway.chat.models.messages import Messages
from gateway.chat.models.responses import Responses
from gateway.chat.routing.build import Model

__all__ = ["speaker_for"]


def speaker_for(model: Model) -> Speaker:
    """Speaks `model.format` on `model.client`, which stays the caller's to close."""
    if not isinstance(model.client, openai.AsyncOpenAI):
        return Messages(model.client, model.name)
    if model.format == "responses":
        return Responses(model.client, model.name)
    return ChatCompletions(model.client, model.name)
