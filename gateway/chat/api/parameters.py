"""Queries and bodies of the chat service's routes. How long a message may be is the service's to say."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

MAX_POSITION: Final = 2**53
"""More messages than any chat has, and exact in JavaScript too."""

Position = Annotated[int, Meta(ge=-1, le=MAX_POSITION)]


class NewChat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat to begin, with or without something to answer."""

    message: Annotated[str, Meta(description="What to answer first.")] | None = None
    model: (
        Annotated[
            str,
            Meta(
                min_length=3,
                max_length=512,
                pattern="^[^/]+/.+$",
                description="Written `provider/model`; by default the operator's choice.",
            ),
        ]
        | None
    ) = None
    system: Annotated[str, Meta(max_length=50_000, description="Instructions for the model.")] = ""


class ChatText(msgspec.Struct, frozen=True, kw_only=True):
    """Something to say in a chat."""

    message: str


class ChatsParameters(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=200, description="How many on a page.")] = 50
    before: (
        Annotated[
            str, Meta(min_length=1, max_length=64, description="The page after this chat; as `next` has it.")
        ]
        | None
    ) = None


class StreamParameters(msgspec.Struct, frozen=True, kw_only=True):
    after: Annotated[
        Position,
        Meta(description="Begin behind the message at this position; `Last-Event-ID` goes before it."),
    ] = -1
