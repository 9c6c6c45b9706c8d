"""One call of a model, whatever its format: open the stream, read it event by event, end with the answer.

How an event is read is the format's reader's, without any I/O; what goes wrong is mapped here, for all of them. The
stream is read to its end, because whoever leaves before is taken for a client that hung up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Protocol, TypeAlias, TypeVar

import anthropic
import msgspec
import openai

from gateway.chat.content import Answer, AnswerEvent, ModelError, ReasoningDelta, TextDelta
from gateway.chat.models.errors import model_errors

Delta: TypeAlias = TextDelta | ReasoningDelta
Event = TypeVar("Event")
Event_contra = TypeVar("Event_contra", contravariant=True)


class Reader(Protocol[Event_contra]):
    """Reads the events of one answer. Those it doesn't know tell it nothing."""

    def feed(self, event: Event_contra) -> Iterable[Delta]: ...

    def answer(self) -> Answer | None:
        """None as long as the provider hasn't said that this is all."""
        ...


async def speak(
    provider: str,
    open_stream: Callable[[], Awaitable[anthropic.AsyncStream[Event] | openai.AsyncStream[Event]]],
    reader: Reader[Event],
) -> AsyncGenerator[AnswerEvent, None]:
    """The deltas and the answer. Closing the generator, or cancelling who reads it, closes the HTTP response."""
    with model_errors(provider):
        async with await open_stream() as stream:
            async for event in stream:
                for delta in reader.feed(event):
                    _check(delta)
                    yield delta
        answer = reader.answer()
        _check(answer)
    if answer is None:
        raise ModelError(f"The answer of {provider} ended before it was complete.")
    yield answer


def _check(event: AnswerEvent | None) -> None:
    """JSON can hold half a character, which nobody behind can keep or send on: the error is better raised here."""
    msgspec.json.encode(event)
