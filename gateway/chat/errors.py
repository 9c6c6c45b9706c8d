"""Mistakes that the chat service tells its callers.

ChatError
├── EmptyMessage, MessageTooLong   400
├── NoModel                        400   the chat names no model, and the deployment has no default
├── NotRunningHere                 409   the chat begins and ends turns so fast that no message gets in
├── TooManyAgents                  409
└── Stopping                       503   the service is about to end
"""

from __future__ import annotations

from gateway.chat.content import MAX_TEXT


class ChatError(Exception):
    """It can't be done; the text says why, and is safe to show."""

    status = 400


class EmptyMessage(ChatError):
    def __init__(self) -> None:
        super().__init__("The message is empty.")


class MessageTooLong(ChatError):
    def __init__(self) -> None:
        super().__init__(f"The message has more than {MAX_TEXT} characters.")


class NoModel(ChatError):
    def __init__(self) -> None:
        super().__init__(
            "No model is chosen: name one as provider/model, or ask an operator to set chat_model."
        )


class NotRunningHere(ChatError):
    status = 409

    def __init__(self) -> None:
        super().__init__("Another process runs this chat, and the message did not get in; try again.")


class TooManyAgents(ChatError):
    status = 409

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} agents are at work already: wait for one of them.")


class Stopping(ChatError):
    status = 503

    def __init__(self) -> None:
        super().__init__("The chat service is shutting down; try again.")
