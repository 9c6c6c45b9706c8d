"""The messages API."""

from __future__ import annotations

from typing import Final

from providers.base import Api, Reader, RequestFacts, StreamFilter


class Messages:
    name = "messages"

    def read_request(self, body: bytes) -> RequestFacts:
        raise NotImplementedError

    def reader(self, *, streamed: bool) -> Reader:
        raise NotImplementedError

    def usage_filter(self) -> StreamFilter:
        raise NotImplementedError


MESSAGES: Final[Api] = Messages()
