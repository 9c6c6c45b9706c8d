"""Which model is called for which purpose: what the operator chose, else the chat's own model."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.chat.routing.requests import ModelName, Purpose


@dataclass(frozen=True, slots=True)
class ModelChoices:
    """Each may be left open: then the chat's own model does it. `chat` is for chats that name none."""

    chat: ModelName | None = None
    advisor: ModelName | None = None
    title: ModelName | None = None
    quick: ModelName | None = None
    subagent: ModelName | None = None
    computer_use: ModelName | None = None

    def for_purpose(self, purpose: Purpose, own: ModelName) -> ModelName:
        """`own` is the chat's model, which a chat has from its start."""
        if purpose is Purpose.CHAT:
            return own
        return getattr(self, purpose.name.lower()) or own
