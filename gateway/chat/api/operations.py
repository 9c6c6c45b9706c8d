"""THE table of the chat service's routes. The application and its OpenAPI document are both made of it.

Everything is for every role, and of the caller's own chats.
"""

from __future__ import annotations

from typing import Final

from gateway.api.operations import MEMBER, Api, Operation
from gateway.api.parameters import NoParameters
from gateway.chat.api import answers, handlers
from gateway.chat.api.parameters import ChatsParameters, ChatText, NewChat, StreamParameters
from gateway.chat.events import ChatEvent

CHAT: Final = Api(
    "AI gateway: chats",
    "Chats with models, which run on while nobody looks. A chat is its owner's alone; turns act for the key of the "
    "message that began them.",
    (
        Operation(
            "POST", "/chats", handlers.create_chat, NewChat, answers.ChatAnswer, MEMBER,
            "Begin a chat and, with a message, its first turn", 201,
        ),
        Operation(
            "GET", "/chats", handlers.list_chats, ChatsParameters, answers.ChatsAnswer, MEMBER,
            "Your chats, newest first",
        ),
        Operation(
            "GET", "/chats/{chat_id}", handlers.get_chat, NoParameters, answers.ChatViewAnswer, MEMBER,
            "A chat and all that is in it", errors=(404,),
        ),
        Operation(
            "DELETE", "/chats/{chat_id}", handlers.delete_chat, NoParameters, answers.Deleted, MEMBER,
            "End and delete a chat with its agents' chats", errors=(404,),
        ),
        Operation(
            "POST", "/chats/{chat_id}/messages", handlers.send_message, ChatText, answers.SentAnswer, MEMBER,
            "Say something: it is answered, or waits for the turn that runs", 202, (404, 409),
        ),
        Operation(
            "POST", "/chats/{chat_id}/interrupt", handlers.interrupt_chat, NoParameters, answers.Interrupted, MEMBER,
            "End the turn that runs, wherever it does", errors=(404,),
        ),
        Operation(
            "DELETE", "/chats/{chat_id}/queue/{queued_id}", handlers.delete_queued_message, NoParameters,
            answers.Deleted, MEMBER, "Take back a message that waits", errors=(404,),
        ),
        Operation(
            "GET", "/chats/{chat_id}/stream", handlers.stream_chat, StreamParameters, ChatEvent, MEMBER,
            "What is in the chat, then what happens, as server-sent events", errors=(404,), is_stream=True,
        ),
    ),
    "/chats/openapi.json",
)  # fmt: skip
