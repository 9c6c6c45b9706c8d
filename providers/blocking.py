"""An answer that is one JSON document: collected up to a limit, read when it is over.

What the document means is the API's own affair and comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from providers.base import Fact
from providers.documents import Unreadable
from providers.flaws import Flaws

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024

ReadAnswer: TypeAlias = Callable[[bytes], tuple[str, Sequence[Fact]]]
"""A whole answer -> the provider's response ID and the facts. Raises `Unreadable`."""


class BlockingReader:
    """Tells all facts at `close`; an answer longer than `max_bytes`, or cut, is named in `flaws`."""

    def __init__(self, read_answer: ReadAnswer, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.msg_id = ""
        self.complete = False
        self.flaws: list[str] = Flaws()
        self._read_answer = read_answer
        self._max = max_bytes
        self._body = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> Sequence[Fact]:
        if not self._too_long:
            self._body += data
            if len(self._body) > self._max:
                self._too_long = True
                self._body.clear()
                self.flaws.append(f"an answer longer than {self._max} bytes was not read")
        return ()

    def close(self) -> Sequence[Fact]:
        body = bytes(self._body)
        self._body.clear()
        if not body.strip():
            return ()
        try:
            self.msg_id, facts = self._read_answer(body)
        except Unreadable as error:
            self.flaws.append(f"the answer was not read: {error}")
            return ()
        return facts
