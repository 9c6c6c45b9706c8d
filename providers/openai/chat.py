"""The chat_completions API."""

from __future__ import annotations

from typing import Final

from providers.base import Api, Reader, RequestFacts, StreamFilter


class ChatCompletions:
    name = "chat_completions"

    def read_request(self, body: bytes) -> RequestFacts:
        raise NotImplementedError

    def reader(self, *, streamed: bool) -> Reader:
        raise NotImplementedError

    def usage_filter(self) -> StreamFilter:
        raise NotImplementedError


CHAT_COMPLETIONS: Final[Api] = ChatCompletions()
