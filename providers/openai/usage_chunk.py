"""Asking for the usage of a Chat completions stream, and hiding the extra chunk from a client that did not ask.

A stream reports usage only with `stream_options.include_usage`, in one more chunk without choices. `usage_edit` is
the smallest change of the request's bytes that asks; `UsageChunkFilter` takes exactly that chunk out of the answer.

Neither touches a request that asked itself, nor one whose `stream_options` is of a shape that only the provider can
judge.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from providers.base import Edit
from providers.documents import Unreadable, read
from providers.flaws import Flaws
from providers.openai.members import Member, last_member, skip_space
from providers.sse import EventSplitter, data_of, event_end

MAX_HELD_BYTES: Final = 64 * 1024

_ASK: Final = b'"include_usage":true'
_OPTIONS: Final = b'"stream_options":{' + _ASK + b"}"


def usage_edit(body: bytes, *, has_options: bool) -> Edit | None:
    """The edit that asks for usage in a streamed request; None when it asks itself, or must not be changed.

    `has_options` says whether the body has a `stream_options` member at its top, as a decoder saw it.
    """
    brace = skip_space(body, 0)
    if not has_options:
        return _insert(body, brace, _OPTIONS)
    options = _options(body, brace)
    if options is not None and body.startswith(b"{", options.start):
        return _ask_in(body, options)
    return _replace(body, options, (b"null",), b"{" + _ASK + b"}")


class _Body(msgspec.Struct, frozen=True):
    stream_options: msgspec.Raw = msgspec.Raw(b"")


_BODY: Final = msgspec.json.Decoder(_Body)


def _options(body: bytes, brace: int) -> Member | None:
    """Where `stream_options` stands: where its text does, when that is there but once; else found by walking."""
    try:
        value = bytes(_BODY.decode(body).stream_options)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = b""
    start = body.find(value)
    if value.startswith(b"{") and start == body.rfind(value):
        return Member("stream_options", start, start + len(value))
    return last_member(body, brace, "stream_options")


def _ask_in(body: bytes, options: Member) -> Edit | None:
    wish = last_member(body, options.start, "include_usage")
    if wish is None:
        return _insert(body, options.start, _ASK)
    return _replace(body, wish, (b"false", b"null"), b"true")


def _replace(
    body: bytes, member: Member | None, values: tuple[bytes, ...], replacement: bytes
) -> Edit | None:
    """Replace a member's value when it is one of `values`."""
    if member is None or body[member.start : member.end] not in values:
        return None
    return Edit(member.start, member.end, replacement)


def _insert(body: bytes, brace: int, member: bytes) -> Edit:
    """A new first member of the object that opens at `brace`."""
    empty = body.startswith(b"}", skip_space(body, brace + 1))
    return Edit(brace + 1, brace + 1, member if empty else member + b",")


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[msgspec.Raw] | None = None
    usage: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


def is_usage_chunk(event: bytes) -> bool:
    """Whether a whole event, as it stands in the stream, is the chunk that only tells usage."""
    if b"usage" not in event or event.count(b'"usage"') == event.count(b'"usage":null'):
        return False
    splitter = EventSplitter(Flaws())
    whole = [*splitter.feed(event), *splitter.close()]
    try:
        chunk = read(_CHUNK, b"".join(data_of(each) for each in whole))
    except Unreadable:
        return False
    return chunk.choices == [] and chunk.usage is not None


class UsageChunkFilter:
    """A `StreamFilter` that takes one usage chunk out, blank line included.

    Whole events leave when they come. An event that is not complete yet is held back, because it may turn out to be
    the one; when it gets longer than `max_held_bytes` it isn't, and what there is of it leaves.
    """

    def __init__(self, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._max = max_held_bytes
        self._held = bytearray()
        self._released: bytes | None = None
        """The last byte that left of an event that was too long to hold; None when there is no such event."""
        self._done = False
        self._drop_lf = False
        """The chunk that was taken out ended in CR; an LF that follows belongs to it."""

    def feed(self, data: bytes) -> bytes:
        if self._done:
            return self._behind(data)
        if self._released is not None:
            return self._release(self._released, data)
        if not self._held:
            return self._sift(data)
        seam = len(self._held) - 1
        self._held += data
        if event_end(self._held, seam) == -1:
            return self._release_too_long()
        return self._sift(self._take_held())

    def close(self) -> bytes:
        rest = self._take_held()
        return b"" if is_usage_chunk(rest) else rest

    def _sift(self, data: bytes) -> bytes:
        """Pass whole events, hold the beginning of one; `data` begins where an event does."""
        start = 0
        while (end := event_end(data, start)) != -1:
            event = data[start:end].lstrip(b"\r\n")
            if is_usage_chunk(event):
                self._done = True
                self._drop_lf = end == len(data) and event.endswith(b"\r")
                return data[: end - len(event)] + data[end:]
            start = end
        self._held += data[start:].lstrip(b"\r\n")
        return data[: len(data) - len(self._held)] + self._release_too_long()

    def _release_too_long(self) -> bytes:
        if len(self._held) <= self._max:
            return b""
        rest = self._take_held()
        self._released = rest[-1:]
        return rest

    def _release(self, tail: bytes, data: bytes) -> bytes:
        """Pass the rest of an event whose beginning has left, and sift what follows."""
        end = event_end(tail + data) - len(tail)
        if end < 0:
            self._released = (tail + data)[-1:]
            return data
        self._released = None
        return data[:end] + self._sift(data[end:])

    def _behind(self, data: bytes) -> bytes:
        if self._drop_lf and data:
            self._drop_lf = False
            return data.removeprefix(b"\n")
        return data

    def _take_held(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held
