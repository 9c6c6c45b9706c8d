"""Short answers beside the conversation: a title, a quick text, a word of advice.

Title and quick generation end their messages with the assistant's role, so that the gateway doesn't record them as a
prompt of the user's: nobody typed it. Advice is asked for in the user's role, as a real turn is.
"""

from __future__ import annotations

import logging
import re
from contextlib import aclosing
from typing import Final

from gateway.chat.content import (
    Answer,
    Ask,
    ModelError,
    Reasoning,
    Said,
    Speaker,
    Text,
    ToolCall,
    ToolResult,
    text_of,
)
from gateway.chat.events import TitleChanged
from gateway.chat.means import Means, identity_of
from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import ModelOptions, ModelRequest, Purpose, RoutingError
from gateway.chat.store import Chat, Message, UnknownChat
from recorders.stores.base import StoreError

log = logging.getLogger("ai_gateway.chat")

MAX_TITLE: Final = 80
MAX_TITLED: Final = 4_000
"""Characters of the first message that a title is made of."""

MAX_TRANSCRIPT: Final = 60_000
"""Characters of the conversation that an advisor is shown: the last ones."""

_TITLE_SYSTEM: Final = (
    "You name conversations. Answer with a title of at most six words for the conversation that this message begins: "
    "no quotes, no full stop, in the language of the message."
)
_ADVISOR_SYSTEM: Final = (
    "You advise another AI agent that is in the middle of its work. You see what was said and done so far, and its "
    "question. Be brief and concrete: say what to do, what to avoid, and what is missing to decide."
)


class Generation:
    """Asks the model that `models` chooses for the purpose, for the key that is given."""

    def __init__(self, means: Means, models: ModelChoices) -> None:
        self._means = means
        self._models = models

    async def generate(self, chat: Chat, purpose: Purpose, ask: Ask, api_key_id: str | None) -> str:
        """Raises `RoutingError`, `ModelError`, `StoreError`."""
        request = ModelRequest(identity_of(chat), self._models.for_purpose(purpose, chat.model), purpose)
        options = ModelOptions(api_key_id, self._means.record_http)
        async with self._means.routing.model(request, options) as model:
            return await whole_text(self._means.speaker_for(model), ask)

    async def name(self, chat: Chat, text: str, api_key_id: str | None) -> None:
        """By a model or, where it can't (some refuse an answer that is begun), by how the chat begins."""
        try:
            try:
                title = clean_title(await self.generate(chat, Purpose.TITLE, title_ask(text), api_key_id))
            except (RoutingError, ModelError) as error:
                log.info("no model names the chat %s: %s", chat.id, error)
                title = ""
            title = title or clean_title(text)
            await self._means.store.set_title(chat.id, title)
            self._means.hub.publish(chat.id, TitleChanged(title=title))
        except (StoreError, UnknownChat) as error:
            log.info("the chat %s gets no title: %s", chat.id, error)


def title_ask(first_message: str) -> Ask:
    return _beside(_TITLE_SYSTEM, first_message[:MAX_TITLED], "The title is:", max_output_tokens=60)


def quick_ask(instruction: str, text: str) -> Ask:
    return _beside(instruction, text, "Here it is:", max_output_tokens=1_000)


def advisor_ask(messages: list[Message], question: str) -> Ask:
    asked = f"<conversation>\n{transcript(messages)}\n</conversation>\n\n{question}"
    return Ask(system=_ADVISOR_SYSTEM, messages=(Said("user", (Text(asked),)),), max_output_tokens=4_000)


def clean_title(text: str) -> str:
    """One line, without what models put around a title."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return re.sub(r"\s+", " ", line).strip(" \"'*#`.:").strip()[:MAX_TITLE].rstrip()


def transcript(messages: list[Message]) -> str:
    """What was said and done, for a reader that has none of the tools."""
    lines = [
        f"{message.role}: {said}"
        for message in messages
        if message.visible in ("both", "model")
        for said in _said(message)
    ]
    return "\n".join(lines)[-MAX_TRANSCRIPT:]


def _said(message: Message) -> list[str]:
    said: list[str] = []
    for part in message.parts:
        match part:
            case Text(text):
                said.append(text)
            case ToolCall():
                said.append(f"[calls {part.name} with {part.arguments}]")
            case ToolResult():
                said.append(f"[result of {part.name}: {part.content}]")
            case Reasoning():
                pass  # another model's thoughts are not to be shown to this one
    return said


def _beside(system: str, text: str, begun: str, *, max_output_tokens: int) -> Ask:
    return Ask(
        system=system,
        messages=(Said("user", (Text(text),)), Said("assistant", (Text(begun),))),
        max_output_tokens=max_output_tokens,
    )


async def whole_text(speaker: Speaker, ask: Ask) -> str:
    """The text of an answer that nobody follows. Raises `ModelError`."""
    async with aclosing(speaker.stream(ask)) as events:
        async for event in events:
            if isinstance(event, Answer):
                return text_of(event.parts).strip()
    raise ModelError("the model's answer ended too early")
